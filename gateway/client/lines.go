package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// linePatience is how long the client waits for the next part of the lines.
const linePatience = 30 * time.Second

// errSilent is the cause of cancelling a request whose answer stalls.
var errSilent = fmt.Errorf("the server has said nothing for %v", linePatience)

// maxLine bounds one line in bytes: the largest possible event with its escapes.
const maxLine = maxAnswer

// ErrBrokenOff is the error of an incomplete answer. The events before it are complete.
var ErrBrokenOff = errors.New("the answer broke off")

// HistoryLines reads a part of a channel's history of any size, event by event. Limit 0 is as much as the server
// sends in one answer; HasMore of the summary reports whether there is more. each gets every event and may keep
// it. gap, unless nil, is called with the serial after which events may be missing because they were removed
// during the reading. Errors are those of [Signed.Do], [ErrBrokenOff], or the error of each.
func (s *Signed) HistoryLines(ctx context.Context, channel string, q HistoryQuery, each func(*HistoryItem) error, gap func(after uint64)) (*HistorySummary, error) {
	values := q.values()
	values.Set("format", "ndjson")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The whole answer may take longer than the client's timeout.
	patient := *s.opt.HTTP
	patient.Timeout = 0
	late := time.AfterFunc(linePatience, func() { cancel(errSilent) })
	defer late.Stop()
	answer, err := s.send(ctx, &patient, http.MethodGet, []string{"channels", channel, "history"}, values, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, err := readAnswer(answer)
		return nil, err
	}
	late.Stop()
	lines := bufio.NewScanner(&watched{answer.Body, late})
	lines.Buffer(make([]byte, 0, 256<<10), maxLine)
	for lines.Scan() {
		end, err := readLine(lines.Bytes(), each, gap)
		if end != nil || err != nil {
			return end, err
		}
	}
	return nil, errors.Join(ErrBrokenOff, lines.Err())
}

// watched is a body whose next part must arrive within linePatience.
type watched struct {
	io.Reader
	late *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	w.late.Reset(linePatience)
	defer w.late.Stop()
	return w.Reader.Read(b)
}

// readLine handles one line. Lines that are not events begin as no event does.
func readLine(text []byte, each func(*HistoryItem) error, gap func(uint64)) (*HistorySummary, error) {
	if bytes.HasPrefix(text, []byte(`{"end":`)) || bytes.HasPrefix(text, []byte(`{"gap":`)) {
		var line struct {
			End *HistorySummary
			Gap *struct {
				After uint64 `json:"after_serial"`
			}
		}
		if err := json.Unmarshal(text, &line); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBrokenOff, err)
		}
		if line.Gap != nil && gap != nil {
			gap(line.Gap.After)
		}
		return line.End, nil
	}
	item := &HistoryItem{}
	if !item.parse(string(text)) {
		return nil, fmt.Errorf("%w in %.40q", ErrBrokenOff, text)
	}
	return nil, each(item)
}
