// Package quota counts the connections of apps, and decides which of them are let in where an app may only
// have so many (`max_connections`), counted over all gateways.
//
// What other gateways have is known from the table of cluster state, where a gateway that has died goes on
// counting until its lease has ended, and one that is stopping until its clients were noticed to have left. A
// client that is told that there are too many connections (4004) never comes back by itself. So it is told that
// only if the excess is certain: this gateway has it by itself, or the others confirm their part of it when they
// are asked. [Case] is that decision, a plain value without a clock.
package quota
