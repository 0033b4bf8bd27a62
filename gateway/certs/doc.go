// Package certs provides the certificates of a gateway: a pair of files that is read again when it changes, or
// certificates that an authority issues over ACME, with renewal. If a new certificate cannot be used, the
// present one stays, and the problem is reported. Package gateway uses it for its listeners; the package knows
// neither listeners nor requests.
package certs
