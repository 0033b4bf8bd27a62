package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Descriptors bounds who may have the last descriptors of the process. The system gives
// out the lowest free number, so a new descriptor with the number n means that n others
// are in use, whoever has them. The zero value refuses nothing.
type Descriptors struct {
	// Reserve is the number that is kept back for the log. Half of it is for the
	// connections that the process opens itself and for operators: see
	// [Descriptors.Listener] and [Descriptors.Dial].
	Reserve int
	// limit replaces the limit of the system in tests.
	limit func() int

	// known is the limit as it was last asked for; 0 means that it was not.
	known atomic.Int64

	refused   atomic.Uint64
	exhausted atomic.Uint64
	// full is set when somebody was refused, until there is room again.
	full atomic.Bool
}

// Class says for whom a descriptor is.
type Class int

const (
	// Public connections come from anybody; they leave the whole reserve free.
	Public Class = iota
	// Own connections, for webhooks and from operators, may use half of it.
	Own
)

// ErrDescriptors: the rest of the descriptors belongs to the log.
var ErrDescriptors = errors.New("too few file descriptors are left; they are kept for the log")

// Limit is how many descriptors the process may have at this moment, 0 if the system
// does not say. The runtime has raised it to the hard limit before main began, and gives
// children the one of before.
func (d *Descriptors) Limit() int {
	if d.limit != nil {
		return d.limit()
	}
	return systemLimit()
}

// Usable is how many descriptors there are for connections of a class and everything
// else that the process has open, 0 for no bound.
func (d *Descriptors) Usable(class Class) int {
	limit := d.Limit()
	if limit == 0 {
		return 0
	}
	kept := d.Reserve
	if class == Own {
		kept /= 2
	}
	return max(1, limit-kept)
}

// Refused counts connections that were turned away to keep the reserve, and Exhausted
// the times that the system had no descriptor left to accept one with.
func (d *Descriptors) Refused() uint64 { return d.refused.Load() }

// Exhausted is explained at [Descriptors.Refused].
func (d *Descriptors) Exhausted() uint64 { return d.exhausted.Load() }

// Problem says what is wrong, empty for nothing.
func (d *Descriptors) Problem() string {
	if !d.full.Load() {
		return ""
	}
	// Whoever asks may do so on a connection of before.
	if f, err := os.Open(os.DevNull); err == nil {
		next := int(f.Fd())
		_ = f.Close()
		if next < d.Usable(Public) {
			d.full.Store(false)
			return ""
		}
	}
	return fmt.Sprintf("connections are refused: %d of %d file descriptors are in use or kept for the log (descriptors.reserve)",
		d.Usable(Public), d.Limit())
}

// fits tells whether a connection leaves the reserve of its class free. What has no
// descriptor fits.
func (d *Descriptors) fits(conn net.Conn, class Class) bool {
	number, ok := numberOf(conn)
	if !ok {
		return true
	}
	// While a quarter of the descriptors are in use there is no need to ask the system for
	// each connection whether they have become fewer.
	if known := d.known.Load(); int64(4*number) < known && 2*d.Reserve < int(known) {
		return true
	}
	usable := d.Usable(class)
	d.known.Store(int64(d.Limit()))
	return usable == 0 || number < usable
}

func numberOf(conn net.Conn) (int, bool) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	number := -1
	if raw.Control(func(fd uintptr) { number = int(fd) }) != nil {
		return 0, false
	}
	return number, number >= 0
}

// Dial makes a dialer leave its part of the reserve free. It returns [ErrDescriptors]
// where it would not.
func (d *Descriptors) Dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil || d.fits(conn, Own) {
			return conn, err
		}
		_ = conn.Close()
		d.refused.Add(1)
		return nil, ErrDescriptors
	}
}

// isExhausted tells whether the system has no descriptor left.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
