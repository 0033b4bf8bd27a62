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

// Descriptors reserves the last descriptors of the process. The system assigns the lowest free number, so a new
// descriptor with number n means that n others are in use, whatever uses them. The zero value refuses nothing.
// It is safe for concurrent use.
type Descriptors struct {
	// Reserve is the number of descriptors that are reserved for the log. Operators and connections that the
	// process opens itself may use half of them: see [Descriptors.Listener] and [Descriptors.Dial].
	Reserve int
	// limit replaces the limit of the system in tests.
	limit func() int

	// known is the last limit that was read; 0 if it was not read yet.
	known atomic.Int64

	refused   atomic.Uint64
	exhausted atomic.Uint64
	// full is set when a connection was refused, until there is room again.
	full atomic.Bool
}

// Class is the kind of a connection.
type Class int

const (
	// Public connections come from anybody; they leave the whole reserve free.
	Public Class = iota
	// Own connections, for webhooks and from operators, may use half of the reserve.
	Own
)

// ErrDescriptors means that the remaining descriptors are reserved for the log.
var ErrDescriptors = errors.New("too few file descriptors are left; they are kept for the log")

// Limit returns the present limit of descriptors, 0 if it is unknown. The Go runtime raises it to the hard limit
// before main begins, and gives child processes the original one.
func (d *Descriptors) Limit() int {
	if d.limit != nil {
		return d.limit()
	}
	return systemLimit()
}

// Usable returns how many descriptors may be in use when a connection of a class is accepted, 0 for no bound.
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

// Refused returns the number of connections that were refused to keep the reserve.
func (d *Descriptors) Refused() uint64 { return d.refused.Load() }

// Exhausted returns how often the system had no descriptor for accepting a connection.
func (d *Descriptors) Exhausted() uint64 { return d.exhausted.Load() }

// Problem returns what is wrong, empty for nothing.
func (d *Descriptors) Problem() string {
	if !d.full.Load() {
		return ""
	}
	// The request may use an old connection, so the next free descriptor is found out by opening a file.
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

// fits reports whether a connection leaves the reserve of its class free. Without a descriptor it does.
func (d *Descriptors) fits(conn net.Conn, class Class) bool {
	number, ok := numberOf(conn)
	if !ok {
		return true
	}
	// While less than a quarter of the descriptors are in use, the limit need not be read again for each
	// connection.
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

// Dial wraps a dialer that leaves its part of the reserve free. Otherwise it returns [ErrDescriptors].
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

// isExhausted reports whether the system has no descriptor left.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
