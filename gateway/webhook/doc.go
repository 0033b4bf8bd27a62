// Package webhook will tell applications what happened in their channels. It is
// not part of this release: nothing here is implemented, and no webhook is sent.
//
// What it will promise: events are appended to a work stream and delivered by one
// gateway at a time, in order per channel, with back-off, so that retries survive
// a crash and exactly one gateway sends each webhook. A request carries the
// signature of its body. What it will never do: slow the path of live events. See
// protocol section 2.6.
package webhook
