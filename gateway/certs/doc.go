// Package certs has the certificates that a gateway presents: a pair of files that is read again
// when they change, or certificates that an authority issues over ACME and that are renewed in
// time. What cannot be used leaves in place what is there, and is told in words. Package gateway
// calls it when it listens; it knows of no listener and no request.
package certs
