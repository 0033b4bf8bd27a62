// Package redisserver runs real redis-server processes for tests: a single one, or a
// cluster of three masters. It promises that they are gone with the test, that they
// listen on free ports of this machine only, and that they keep their files in a
// temporary directory. Servers can be killed and started again on the same files.
package redisserver
