package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicehq/sluice/configs"
)

// checkDirectories returns errors for the directories of a configuration in which a server could not write.
func checkDirectories(c *configs.Config) error {
	var errs []error
	if c.Embeds() {
		errs = append(errs, usable("nats.embedded.store_dir", c.NATS.Embedded.StoreDir))
	}
	if len(c.TLS.ACME.Domains) > 0 {
		errs = append(errs, usable("tls.acme.storage_dir", c.TLS.ACME.StorageDir))
	}
	return errors.Join(errs...)
}

// usable returns an error if a directory could not be created or written to. It leaves nothing behind.
func usable(key, dir string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	for {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("%s is %q, but %s is no directory", key, dir, at)
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	probe, err := os.CreateTemp(at, ".sluice-*")
	if err != nil {
		var why *fs.PathError
		if errors.As(err, &why) {
			err = why.Err // the name of the temporary file means nothing to the user
		}
		return fmt.Errorf("%s is %q, but nothing can be written in %s: %w", key, dir, at, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
