// Package quota counts the connections of apps, and decides which connections are admitted if an app has a
// limit (`max_connections`), counted over all gateways.
//
// The numbers of other gateways come from the table of cluster state. There, a dead gateway counts until its
// lease has ended, and a stopping one until it has noticed that its clients left. A client that is told that
// there are too many connections (4004) never retries by itself, so it is told that only if the excess is
// certain: this gateway alone reaches the limit, or others confirm their numbers when asked. [Case] is that
// decision, a plain value without a clock.
package quota
