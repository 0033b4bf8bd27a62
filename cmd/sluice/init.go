package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

//go:embed init.yaml
var initText string

// freshConfig has the values that are unique to a new configuration.
type freshConfig struct{ ID, Key, Secret, Token, Sealing string }

func newInitCommand() *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration with fresh secrets",
		Long: `Write a commented configuration for one server, with an app whose key and secret are
made for it: to FILE, sluice.yaml unless it is named, which only its owner can read. - is
standard output. A file that is there stays as it is unless --force is given.`,
		Example: `  sluice init
  sluice --config sluice.yaml`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("config") {
				return usage("--config has no effect here: the file to write is the argument")
			}
			path := "sluice.yaml"
			if len(args) == 1 {
				path = args[0]
			}
			return initialize(cmd, path, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there, and with it its secrets")
	return cmd
}

func initialize(cmd *cobra.Command, path string, force bool) error {
	fresh, err := newConfigText()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if path == "-" {
		_, err := out.Write(fresh)
		return err
	}
	// As with --config, the extension determines the format.
	if ext := strings.ToLower(filepath.Ext(path)); ext != ".yaml" && ext != ".yml" {
		return usage("FILE is %.100q, must end in .yaml or .yml", path)
	}
	if err := writeNew(path, fresh, force); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return hinted{fmt.Errorf("%s is there already and stays as it is", path), "Give another name, or --force to replace it and its secrets."}
		}
		return err
	}
	fmt.Fprintf(out, `%[1]s is written; it holds a secret, and only you can read it.

Start the server:          %[2]s --config %[1]s
Ask whether it is ready:   %[2]s health --config %[1]s
Watch a channel:           %[2]s subscribe lobby --config %[1]s
Publish to it:             %[2]s publish lobby hello --config %[1]s
`, quotedForShell(path), program())
	return nil
}

// newConfigText returns a new configuration with fresh secrets.
func newConfigText() ([]byte, error) {
	id, err := rand.Int(rand.Reader, big.NewInt(900_000))
	if err != nil {
		return nil, err
	}
	t, err := template.New("").Parse(initText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, freshConfig{
		ID: fmt.Sprint(100_000 + id.Int64()), Key: strings.ToLower(rand.Text()), Secret: strings.ToLower(rand.Text()), Token: strings.ToLower(rand.Text()), Sealing: strings.ToLower(rand.Text() + rand.Text()),
	})
	return out.Bytes(), err
}

// writeNew writes a file that only its owner can read, completely or not at all. An existing file is replaced
// only with force.
func writeNew(path string, text []byte, force bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".sluice-init-*")
	if err != nil {
		// The name of the temporary file means nothing to the user.
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return fmt.Errorf("%s cannot be written: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(f.Name(), path)
	}
	// Unlike a rename, a link does not replace an existing file.
	return os.Link(f.Name(), path)
}

// quotedForShell quotes a path for a shell if that is necessary.
func quotedForShell(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
