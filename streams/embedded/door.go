package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// doorName is a file in the directory of the log, there while a server runs on it.
const doorName = "sluice.door"

// keeperUser is the account of those who come by the door; the password is made at each start.
const keeperUser = "sluice-keeper"

// Door is how another process on this machine comes to the server with a right that no other
// client has: to write the subjects of [Options.Keeps]. Whoever can read the directory has it.
type Door struct {
	URL      string `json:"url"`
	User     string `json:"user"`
	Password string `json:"password"`
	// Mark is [Options.Mark] of the server, empty from one that did not know of it.
	Mark string `json:"mark,omitempty"`
}

// OpenDoor finds the door of the server that runs on a directory.
func OpenDoor(dir string) (*Door, error) {
	text, err := os.ReadFile(filepath.Join(dir, doorName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no server runs on the directory %s", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the directory of the log: %w", err)
	}
	d := &Door{}
	if json.Unmarshal(text, d) != nil || d.URL == "" || d.Password == "" {
		return nil, fmt.Errorf("%s is not what a server writes", filepath.Join(dir, doorName))
	}
	return d, nil
}

// ConnectOptions connect a client by the door.
func (d *Door) ConnectOptions() []nats.Option {
	return []nats.Option{nats.UserInfo(d.User, d.Password)}
}

// hang makes the door, if anybody may come by it.
func (s *Server) hang() error {
	if s.front == nil || len(s.opt.Keeps) == 0 {
		return nil
	}
	text, err := json.Marshal(Door{s.ClientURL(), keeperUser, s.keeper, s.opt.Mark})
	if err != nil {
		return err
	}
	path := filepath.Join(s.opt.StoreDir, doorName)
	// One that a killed server has left may be readable for others.
	_ = os.Remove(path)
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	return nil
}

// unhang takes the door away.
func (s *Server) unhang() {
	if err := os.Remove(filepath.Join(s.opt.StoreDir, doorName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opt.Logger.Warn("a file could not be removed", "error", err)
	}
}

// keepers are those who come by the door: they may ask JetStream as everybody may, and write what
// they keep.
func (s *Server) keepers() *server.User {
	return &server.User{Username: keeperUser, Password: s.keeper, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: append([]string{"$JS.API.>"}, s.opt.Keeps...)},
	}}
}
