// Types that several files share.

@export()
@description('Texts by name: tags, app settings.')
type textMap = {
  *: string
}

@export()
@description('What a finding, or a warning of the detector about itself, raises in Sentinel, by its severity.')
@sealed()
type raisedBySeverity = {
  High: raised
  Medium: raised
  Low: raised
  Informational: raised
}

@description('An incident; an alert without one; nothing: the row stands in the table alone.')
type raised = 'incident' | 'alert' | 'row'

@export()
@description('An analytics rule of sentinel/analytic-rules.')
@sealed()
type analyticsRule = {
  id: string
  name: string
  version: string
  kind: 'Scheduled'
  @description('Switched on unless it says otherwise.')
  enabled: bool?
  description: string
  severity: 'High' | 'Medium' | 'Low' | 'Informational'
  requiredDataConnectors: string[]
  queryFrequency: string
  queryPeriod: string
  triggerOperator: 'eq' | 'gt' | 'lt' | 'ne'
  triggerThreshold: int
  tactics: string[]
  relevantTechniques: string[]
  query: string
  entityMappings: entityMapping[]?
  customDetails: textMap?
  alertDetailsOverride: {
    alertDisplayNameFormat: string
    alertDescriptionFormat: string
    alertSeverityColumnName: string
  }?
  eventGroupingSettings: {
    aggregationKind: 'SingleAlert' | 'AlertPerResult'
  }?
  @description('For those who import the file; a deployment decides by the severity.')
  incidentConfiguration: {
    createIncident: bool
    groupingConfiguration: {
      enabled: bool
      reopenClosedIncident: bool
      lookbackDuration: string
      matchingMethod: 'AllEntities' | 'AnyAlert' | 'Selected'
      groupByEntities: string[]
      groupByAlertDetails: string[]
      groupByCustomDetails: string[]
    }
  }
}

@export()
@description('A hunting query of sentinel/hunting-queries.')
@sealed()
type huntingQuery = {
  id: string
  name: string
  version: string
  description: string
  requiredDataConnectors: string[]
  tactics: string[]
  relevantTechniques: string[]
  query: string
  entityMappings: entityMapping[]?
}

@description('Columns that name an entity.')
type entityMapping = {
  entityType: 'Account' | 'AzureResource'
  fieldMappings: {
    identifier: string
    columnName: string
  }[]
}
