package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/configs/shelf"
)

// ownKeyName is a file in the directory of an embedded server's log. It has the key that seals apps for a
// development server whose configuration has no key.
const ownKeyName = "apps.key"

// sealing returns the keys for apps of the cluster, nil if there are none. A development server has its own key.
// It is created only if create is set, which requires holding the directory.
func sealing(c *configs.Config, create bool) (*shelf.Keys, error) {
	all := c.EncryptionKeys
	if ownsKey(c) {
		own, err := ownKey(c.NATS.Embedded.StoreDir, create)
		if err != nil {
			return nil, err
		}
		all = []configs.Secret{own}
	}
	if all == nil {
		return nil, nil
	}
	return shelf.NewKeys(all[0], all[1:]...)
}

// hasCluster reports whether a server with this configuration uses apps of the cluster.
func hasCluster(c *configs.Config) bool {
	return c.Driver != "local" && (c.EncryptionKeys != nil || ownsKey(c))
}

// ownsKey reports whether a server creates its own key.
func ownsKey(c *configs.Config) bool { return c.EncryptionKeys == nil && c.Development && c.Embeds() }

// sealMark describes, for the door of an embedded server, which key seals its apps.
func sealMark(c *configs.Config) string {
	switch {
	case ownsKey(c):
		return "own key"
	case c.EncryptionKeys == nil:
		return "no key"
	default:
		return "key of the configuration"
	}
}

// checkMark refuses a server whose apps are sealed with another key: it could not read what this command writes,
// and the command would report success. A server without a mark is accepted.
func checkMark(c *configs.Config, mark string) error {
	dir := c.NATS.Embedded.StoreDir
	switch {
	case mark == "" || mark == sealMark(c):
		return nil
	case ownsKey(c):
		return hinted{fmt.Errorf("the server on the directory %s has a configuration, and this command has none", dir),
			"Give that of the server with --config FILE."}
	case mark == "no key":
		return hinted{fmt.Errorf("the server on the directory %s runs without apps_encryption_key", dir),
			"It was started before the key was set. Restart it, then repeat the command."}
	default:
		return hinted{fmt.Errorf("the server on the directory %s is in development mode, and this command has the configuration of another one", dir),
			"Leave out --config, or stop the development server and start the one of the configuration."}
	}
}

// ownKey reads the key in a directory, and creates it if create is set.
func ownKey(dir string, create bool) (configs.Secret, error) {
	path := filepath.Join(dir, ownKeyName)
	_, err := os.Stat(path)
	switch {
	case err == nil || !errors.Is(err, os.ErrNotExist):
	case !create:
		return "", hinted{fmt.Errorf("no server of development mode has run on the directory %s", dir),
			"Start it first. A server with a configuration file is found by --config."}
	default:
		if err := writeKey(dir, path); err != nil {
			return "", fmt.Errorf("making a key for apps: %w", err)
		}
	}
	key, err := configs.ReadSecret(path)
	if err == nil && len(key) < shelf.LeastKey {
		err = fmt.Errorf("%q has less than %d bytes", path, shelf.LeastKey)
	}
	if err != nil {
		return "", fmt.Errorf("the key for apps: %w", err)
	}
	return key, nil
}

// writeKey creates a key. The file appears under its name only when it is complete.
func writeKey(dir, path string) error {
	f, err := os.CreateTemp(dir, ownKeyName+"-*") // readable by its owner only
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, rand.Text()+rand.Text())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		// If a crash of the machine lost the file's name, records would remain that nobody can open.
		err = syncDirectory(dir)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// syncDirectory makes the names in a directory survive a crash of the machine.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if runtime.GOOS == "windows" {
		err = nil // directories cannot be synced there
	}
	return errors.Join(err, d.Close())
}
