// Package redisserver runs real redis-server processes for tests: a single one, or a cluster of three
// masters. The processes end with the test, listen only on free ports of this machine, and keep their files
// in a temporary directory. Servers can be killed and restarted on the same files.
package redisserver
