// Package filters keeps the filters of subscriptions, which package pusher defines.
//
// A [Pool] keeps each filter of a gateway once, as long as a subscription uses it. So thousands of
// subscriptions with the same filter take the memory of one. [Own] is what one connection has of them, and
// bounds it.
package filters
