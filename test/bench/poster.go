package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// poster sends signed requests to one node with as little effort as possible. Not safe for concurrent use.
type poster struct {
	target *target
	node   string
	// fresh makes a new connection for every request, as short-lived callers do.
	fresh bool

	conn net.Conn
	in   *bufio.Reader
	mac  hash.Hash
	text []byte
}

func newPoster(t *target, i int, fresh bool) *poster {
	return &poster{target: t, node: t.nodes[i%len(t.nodes)], fresh: fresh, mac: hmac.New(sha256.New, []byte(t.secret))}
}

func (p *poster) close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}

// body is a request body with its checksum, so that repeated requests need not compute it again.
type body struct {
	text []byte
	sum  string
}

func newBody(text []byte) body {
	sum := md5.Sum(text)
	return body{text, hex.EncodeToString(sum[:])}
}

// post sends a body and waits for the answer, which must have status 200.
func (p *poster) post(path string, b body) error {
	if p.conn == nil {
		conn, err := net.DialTimeout("tcp", p.node, 10*time.Second)
		if err != nil {
			return err
		}
		p.conn = conn
		if p.in == nil {
			p.in = bufio.NewReaderSize(conn, 4096)
		} else {
			p.in.Reset(conn)
		}
	}
	err := p.exchange(path, b)
	if err != nil || p.fresh {
		p.close()
	}
	return err
}

func (p *poster) exchange(path string, b body) error {
	query := "auth_key=" + p.target.key + "&auth_timestamp=" + strconv.FormatInt(time.Now().Unix(), 10) + "&auth_version=1.0&body_md5=" + b.sum
	path = "/apps/" + p.target.app + path
	p.mac.Reset()
	_, _ = io.WriteString(p.mac, "POST\n"+path+"\n"+query)
	p.text = fmt.Appendf(p.text[:0], "POST %s?%s&auth_signature=%x HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, query, p.mac.Sum(nil), p.node, len(b.text))
	p.text = append(p.text, b.text...)
	if err := p.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := p.conn.Write(p.text); err != nil {
		return err
	}
	return p.answer()
}

func (p *poster) answer() error {
	line, err := p.in.ReadString('\n')
	if err != nil {
		return err
	}
	ok, length := strings.HasPrefix(line, "HTTP/1.1 200"), 0
	for {
		header, err := p.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(header) <= 2 {
			break
		}
		if name, value, _ := strings.Cut(string(header), ":"); strings.EqualFold(name, "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(p.in, body); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%s: %.200s", strings.TrimSpace(line), body)
	}
	return nil
}
