// Package codec holds our delta encoders against decoders that others wrote: the
// npm packages fossil-delta and @ably/vcdiff-decoder, which the clients use, and
// Debian's xdelta3. It has tests only.
package codec
