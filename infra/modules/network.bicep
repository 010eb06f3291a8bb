// The virtual network of an isolated deployment: a subnet for the app, one for private endpoints.

import { textMap } from '../types.bicep'

@description('Name of the network.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags textMap

resource network 'Microsoft.Network/virtualNetworks@2026-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.90.0.0/24'
      ]
    }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: '10.90.0.0/26'
          defaultOutboundAccess: true // Entra ID and Azure Monitor are reached at their public addresses
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'private-endpoints'
        properties: {
          addressPrefix: '10.90.0.64/27'
          defaultOutboundAccess: false
        }
      }
    ]
  }
}

@description('Resource id of the network, which private DNS zones are linked to.')
output id string = network.id

@description('Resource id of the app\'s subnet.')
output functionsSubnetId string = '${network.id}/subnets/functions'

@description('Resource id of the private endpoints\' subnet.')
output endpointsSubnetId string = '${network.id}/subnets/private-endpoints'
