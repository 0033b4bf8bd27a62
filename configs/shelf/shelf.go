package shelf

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// prefix begins the keys of records, and Records is the pattern of all of them.
const (
	prefix  = "app."
	Records = prefix + ">"
)

func keyOf(id string) string { return prefix + name.Key(id) }

func idOf(key string) (string, bool) {
	id, err := name.Decode(strings.TrimPrefix(key, prefix))
	return id, err == nil && id != "" && keyOf(id) == key
}

// Errors that callers branch on.
var (
	ErrThere    = errors.New("there is such an app in the cluster already")
	ErrNotThere = errors.New("there is no such app in the cluster")
	ErrRaced    = errors.New("somebody else changed the app at the same time; look at it and try again")
)

// App is an app as its record has it.
type App struct {
	ID string
	// Text is the content, nil if it cannot be read; Err is then the reason.
	Text []byte
	// Old is set if it is encrypted with an earlier key.
	Old bool
	Err error
	// Revision is the revision of the record.
	Revision uint64
	// sealed is the raw record, to be written again if the table loses it.
	sealed []byte
}

// Shelf reads and writes records. [New] creates it. It is safe for concurrent use.
type Shelf struct {
	table kv.Table
	keys  *Keys
}

// New returns a shelf on a table.
func New(table kv.Table, keys *Keys) *Shelf { return &Shelf{table, keys} }

// app decrypts a record. It returns nil for a removed app.
func (s *Shelf) app(id string, value []byte, revision uint64) *App {
	text, old, err := s.keys.open(id, value)
	if err == nil && text == nil {
		return nil
	}
	return &App{ID: id, Text: text, Old: old, Err: err, Revision: revision, sealed: value}
}

// List returns all apps by their ids.
func (s *Shelf) List(ctx context.Context) (map[string]*App, error) {
	apps, _, err := s.list(ctx)
	return apps, err
}

// list returns all apps, and the revisions of all records, including those of removed apps.
func (s *Shelf) list(ctx context.Context) (out map[string]*App, newest map[string]uint64, err error) {
	records, err := s.table.List(ctx, prefix+"*")
	if err != nil {
		return nil, nil, err
	}
	out, newest = map[string]*App{}, map[string]uint64{}
	for _, r := range records {
		id, is := idOf(r.Key)
		if !is || r.Revision < newest[id] {
			continue
		}
		newest[id] = r.Revision
		delete(out, id)
		if a := s.app(id, r.Value, r.Revision); a != nil {
			out[id] = a
		}
	}
	return out, newest, nil
}

// Get returns an app, or [ErrNotThere].
func (s *Shelf) Get(ctx context.Context, id string) (*App, error) {
	a, _, err := s.read(ctx, id)
	if err == nil && a == nil {
		err = ErrNotThere
	}
	return a, err
}

// read returns an app, nil if there is none, and the revision of its record, 0 without a record.
func (s *Shelf) read(ctx context.Context, id string) (*App, uint64, error) {
	e, err := s.table.Read(ctx, keyOf(id))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	return s.app(id, e.Value, e.Revision), e.Revision, nil
}

// Add adds an app. It returns [ErrThere] if there is one with that id, and [ErrRaced] after a concurrent change.
func (s *Shelf) Add(ctx context.Context, id string, text []byte) error {
	a, revision, err := s.read(ctx, id)
	switch {
	case err != nil:
		return err
	case a != nil:
		return ErrThere
	}
	return s.swap(ctx, id, text, revision)
}

// Set replaces an app. It returns [ErrRaced] if the app has changed since was was read.
func (s *Shelf) Set(ctx context.Context, was *App, text []byte) error {
	return s.swap(ctx, was.ID, text, was.Revision)
}

func (s *Shelf) swap(ctx context.Context, id string, text []byte, revision uint64) error {
	value, err := s.keys.seal(id, text)
	if err != nil {
		return err
	}
	return s.write(ctx, id, value, revision)
}

func (s *Shelf) write(ctx context.Context, id string, value []byte, revision uint64) error {
	_, err := s.table.Swap(ctx, keyOf(id), value, 0, revision)
	if errors.Is(err, kv.ErrConflict) {
		return ErrRaced
	}
	if err != nil {
		return fmt.Errorf("writing the app %.100q: %w", id, err)
	}
	return nil
}

// Remove removes an app. It returns [ErrRaced] if the app has changed since was was read.
func (s *Shelf) Remove(ctx context.Context, was *App) error {
	return s.write(ctx, was.ID, removed(), was.Revision)
}
