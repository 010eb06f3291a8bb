#!/usr/bin/env node
// Holds KQL against the Kusto language service, which Log Analytics itself uses in its editor.
// In: {"tables": {table: {column: type}}, "queries": {name: text}} on stdin.
// Out: {name: {"problems": ["line:column CODE message"], "columns": {column: type}}} on stdout.
"use strict";

const path = require("path");
const { readFileSync } = require("fs");

const PACKAGE = path.join(__dirname, "../../local/node_modules/@kusto/language-service-next");
require(path.join(PACKAGE, "bridge.min.js")); // both define globals and export nothing
require(path.join(PACKAGE, "Kusto.Language.Bridge.min.js"));

const { Bridge } = globalThis;
const Language = globalThis.Kusto.Language;

// Overloaded constructors carry the numbers that the compiler from C# gave them.
function table([name, columns]) {
  const schema = Object.entries(columns).map(([column, type]) => `['${column}']: ${type}`);
  return new Language.Symbols.TableSymbol.$ctor7(name, `(${schema.join(", ")})`, null);
}

function place(text, start) {
  const before = text.slice(0, start).split("\n");
  return `${before.length}:${before[before.length - 1].length + 1}`;
}

function check(globals, text) {
  const code = Language.KustoCode.ParseAndAnalyze(text, globals);
  const problems = Bridge.toArray(code.GetDiagnostics())
    .filter((found) => found.Severity === "Error" || found.Severity === "Warning")
    .map((found) => `${place(text, found.Start)} ${found.Code} ${found.Message}`);
  const result = code.ResultType && code.ResultType.Columns ? Bridge.toArray(code.ResultType.Columns) : [];
  return { problems, columns: Object.fromEntries(result.map((column) => [column.Name, column.Type.Name])) };
}

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
const database = new Language.Symbols.DatabaseSymbol.$ctor3(
  "workspace",
  null,
  Bridge.toList(Object.entries(tables).map(table)),
  false,
);
const globals = Language.GlobalState.Default.WithDatabase(database);
const answers = Object.entries(queries).map(([name, text]) => [name, check(globals, text)]);
process.stdout.write(JSON.stringify(Object.fromEntries(answers)));
