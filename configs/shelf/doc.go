// Package shelf keeps apps in the table of cluster state, in addition to those of the configuration.
//
// An app is a record of the table that is only ever replaced. Removing an app leaves a record that says so,
// because a store that recovers may bring back a superseded record if its successor is gone. The app in a record
// is encrypted ([Keys]) and bound to its id. [Shelf] reads and writes records with compare-and-set. [Follower]
// has their present state: it is notified of writes, and also reads all records regularly, so that no write is
// missed for long.
//
// The content of an app is a text that the package does not interpret; other code validates it.
package shelf
