package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tidwall/gjson"
	"golang.org/x/crypto/nacl/secretbox"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// kinds are the flags that certain kinds of channels need.
type kinds struct {
	user, info, encryptionKey, encryptionKeyFile string

	// member is the channel data of presence channels, and master the key of encrypted ones; empty without.
	member string
	master []byte
}

func (k *kinds) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.user, "user-id", "", "id of the user who joins presence channels")
	f.StringVar(&k.info, "user-info", "", "what the other members see of the user, JSON")
	f.StringVar(&k.encryptionKey, "encryption-key", "", "key of encrypted channels, 32 bytes as base64, which others on this machine can see here; better --encryption-key-file")
	f.StringVar(&k.encryptionKeyFile, "encryption-key-file", "", "file that holds the key of encrypted channels")
}

// check reports an error if a channel needs a flag that is missing.
func (k *kinds) check(channels []string) error {
	if k.user != "" {
		o := authOptions{user: k.user, info: k.info}
		if err := o.checkMember(true); err != nil {
			return err
		}
		k.member = o.channelData
	} else if k.info != "" {
		return usage("--user-info needs --user-id")
	}
	if err := k.readKey(); err != nil {
		return err
	}
	for _, channel := range channels {
		switch kind := pusher.KindOf(channel); {
		case kind.ServerToUser():
			return usage("%s: channels of users are joined by signing in", channel)
		case kind.Presence() && k.member == "":
			return usage("%s is a presence channel, whose members see each other: say who joins with --user-id", channel)
		}
	}
	return nil
}

func (k *kinds) readKey() error {
	text := k.encryptionKey
	if k.encryptionKeyFile != "" {
		if text != "" {
			return usage("--encryption-key and --encryption-key-file exclude each other")
		}
		secret, err := configs.ReadSecret(k.encryptionKeyFile)
		if err != nil {
			return fmt.Errorf("the encryption key: %w", err)
		}
		text = secret.Reveal()
	}
	if text == "" {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != 32 {
		return usage("the encryption key must be 32 bytes as base64, as `openssl rand -base64 32` makes them")
	}
	k.master = key
	return nil
}

// sign returns the function that signs subscriptions.
func (k *kinds) sign(key string, secret app.Secret) func(socketID, channel string) (auth, channelData string, err error) {
	return func(socketID, channel string) (string, string, error) {
		data, has := "", pusher.KindOf(channel).Presence()
		if has {
			data = k.member
		}
		return key + ":" + pusher.SignChannel(secret.Reveal(), socketID, channel, data, has), data, nil
	}
}

// open decrypts the data of an event of an encrypted channel, if there is a key.
func (k *kinds) open(ev *client.Event) error {
	if k.master == nil || !pusher.KindOf(ev.Channel).Encrypted() {
		return nil
	}
	text, err := decrypted(k.master, ev.Channel, ev.Data)
	if err != nil {
		return err
	}
	ev.Data = text
	return nil
}

var errSealedEvent = errors.New("it is not encrypted with this key")

// decrypted decrypts data that a server library has encrypted for a channel. The key of the channel is derived
// from its name and the master key.
func decrypted(master []byte, channel, data string) (string, error) {
	v := gjson.Parse(data)
	if !json.Valid([]byte(data)) || !v.IsObject() {
		return "", errSealedEvent
	}
	nonce, err := base64.StdEncoding.DecodeString(v.Get("nonce").String())
	box, bad := base64.StdEncoding.DecodeString(v.Get("ciphertext").String())
	if err != nil || bad != nil || len(nonce) != 24 {
		return "", errSealedEvent
	}
	key := sha256.Sum256(append([]byte(channel), master...))
	text, ok := secretbox.Open(nil, box, (*[24]byte)(nonce), &key)
	if !ok {
		return "", errSealedEvent
	}
	return string(text), nil
}
