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

// linePatience is how long a server may take for the next line.
const linePatience = 30 * time.Second

// errSilent is the cause of an answer that is not waited for any longer.
var errSilent = fmt.Errorf("the server has said nothing for %v", linePatience)

// maxLine bounds one line: the largest event there can be, with its escapes.
const maxLine = maxAnswer

// ErrBrokenOff is the error of an answer that ended before its end was told. What was given
// before is whole.
var ErrBrokenOff = errors.New("the answer broke off")

// HistoryLines reads a part of a channel's history of any size, event by event. Limit 0 is as
// much as the server gives at once; HasMore of the summary says whether there is more. each
// gets every event and may keep it. gap, unless nil, is told after which serial events may be
// missing, because they were removed while they were read. Errors: as those of [Signed.Do],
// [ErrBrokenOff], or what each returned.
func (s *Signed) HistoryLines(ctx context.Context, channel string, q HistoryQuery, each func(*HistoryItem) error, gap func(after uint64)) (*HistorySummary, error) {
	values := q.values()
	values.Set("format", "ndjson")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// An answer may take longer than any timeout of the whole.
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

// watched is a body of which every piece must come in time.
type watched struct {
	io.Reader
	late *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	w.late.Reset(linePatience)
	defer w.late.Stop()
	return w.Reader.Read(b)
}

// readLine takes one line; those that are no events begin as no event does.
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
