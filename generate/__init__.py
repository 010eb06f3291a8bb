"""Write what documents say of the code: `python -m generate` after a change of rules, columns, settings or Bicep."""
