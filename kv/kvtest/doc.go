// Package kvtest is the suite that every [kv.Table] passes.
//
// It says what the contract means, by example. It never looks behind the interface,
// and it waits on conditions, not for times.
package kvtest
