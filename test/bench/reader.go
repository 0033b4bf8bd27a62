package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// readerMain is the child process: it connects, subscribes and counts bytes. Arguments: address, sockets,
// channel, "delta" or "plain". For each line on standard input it prints the number of bytes read so far; a
// line that begins with + or ! is also a command.
func readerMain(args []string) error {
	sockets, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var total atomic.Int64
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	conns := make([]*net.TCPConn, 0, sockets)
	for range sockets {
		c, err := join(args[0], args[2], args[3])
		if err != nil {
			return err
		}
		conns = append(conns, c)
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
		})
		if err != nil || failed != nil {
			return fmt.Errorf("epoll: %v %v", err, failed)
		}
	}
	go func() {
		events := make([]syscall.EpollEvent, 1024)
		buf := make([]byte, 256<<10)
		for {
			n, err := syscall.EpollWait(poll, events, -1)
			if err != nil && err != syscall.EINTR {
				fmt.Fprintln(os.Stderr, "epoll:", err)
				os.Exit(1)
			}
			for _, e := range events[:max(n, 0)] {
				got, err := syscall.Read(int(e.Fd), buf)
				if got <= 0 && err != syscall.EAGAIN {
					fmt.Fprintln(os.Stderr, "a connection ended:", err)
					os.Exit(1)
				}
				total.Add(int64(max(got, 0)))
			}
			// A short sleep lets more data arrive, so that reading costs little.
			time.Sleep(300 * time.Microsecond)
		}
	}()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if channel, more := strings.CutPrefix(in.Text(), "+"); more {
			// One more subscription of every socket. The answer is only counted.
			for _, c := range conns {
				if _, err := c.Write([]byte(clientFrame(`{"event":"pusher:subscribe","data":{"channel":"` + channel + `"}}`))); err != nil {
					return err
				}
			}
		}
		if n, stop := strings.CutPrefix(in.Text(), "!"); stop {
			// A number of sockets stop reading, for good.
			count, err := strconv.Atoi(n)
			if err != nil {
				return err
			}
			for _, c := range conns[:count] {
				raw, err := c.SyscallConn()
				if err != nil {
					return err
				}
				_ = raw.Control(func(fd uintptr) { _ = syscall.EpollCtl(poll, syscall.EPOLL_CTL_DEL, int(fd), nil) })
			}
		}
		fmt.Println(total.Load())
	}
	for _, c := range conns {
		_ = c.Close()
	}
	return nil
}

// join connects one client and returns when its subscription is confirmed.
func join(address, channel, speaks string) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	path, confirmed := "/app/key?protocol=7", "subscription_succeeded"
	frames := clientFrame(`{"event":"pusher:subscribe","data":{"channel":"` + channel + `"}}`)
	switch speaks {
	case "delta":
		frames = clientFrame(`{"event":"pusher:enable_delta_compression"}`) + frames
	case "centrifuge", "centrifuge-delta":
		path, confirmed = "/connection/websocket", `"id":2,"subscribe"`
		subscribe := `{"id":2,"subscribe":{"channel":"` + channel + `"}}`
		if speaks == "centrifuge-delta" {
			subscribe = `{"id":2,"subscribe":{"channel":"` + channel + `","delta":"fossil"}}`
		}
		frames = clientFrame(`{"id":1,"connect":{}}`) + clientFrame(subscribe)
	}
	handshake := "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	if _, err := conn.Write([]byte(handshake)); err != nil {
		return nil, err
	}
	var seen []byte
	buf := make([]byte, 4096)
	until := func(text string) error {
		for !bytes.Contains(seen, []byte(text)) {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := conn.Read(buf)
			if err != nil {
				return fmt.Errorf("joining: %w after %q", err, seen)
			}
			seen = append(seen, buf[:n]...)
		}
		return nil
	}
	// Some servers do not accept frames in the same packet as the handshake.
	if err := until("\r\n\r\n"); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte(frames)); err != nil {
		return nil, err
	}
	if err := until(confirmed); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Time{})
	return conn.(*net.TCPConn), nil
}

func clientFrame(text string) string {
	return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
}
