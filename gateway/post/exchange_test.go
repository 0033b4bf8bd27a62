package post

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestAnAnswerIsOneAnswer: whatever header fields a handler sets, a value with line breaks cannot add a field
// or end the head, and the fields for the length of the response are those of the server.
func TestAnAnswerIsOneAnswer(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for _, last := range []bool{false, true} {
		x := &exchange{header: http.Header{
			"X-Value": {"a\r\nSet-Cookie: b=c", "d\n\r\n\r\nHTTP/1.1 200 OK", "plain"}, "Content-Length": {"99"}, "Connection": {"upgrade"}, "Date": {"never"},
		}}
		x.WriteHeader(http.StatusTeapot)
		_, _ = x.Write([]byte("body"))
		in := bufio.NewReader(bytes.NewReader(x.answer(nil, now, last)))
		got, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if _, end := in.ReadByte(); err != nil || end != io.EOF || string(body) != "body" || got.StatusCode != http.StatusTeapot || got.Close != last {
			t.Errorf("the answer is %d %q, close %t, %v, %v", got.StatusCode, body, got.Close, err, end)
		}
		values := got.Header.Values("X-Value")
		if len(values) != 3 || values[0] != "a  Set-Cookie: b=c" || values[2] != "plain" || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("fields are %q", got.Header)
		}
		if date := got.Header.Get("Date"); date != "Mon, 04 May 2026 03:02:01 GMT" {
			t.Errorf("the date is %q", date)
		}
	}
}
