package streams

import (
	"errors"

	"github.com/nats-io/nats.go"
)

// CheckMessage says why gateways could not deliver a message if the log stored it: the
// same rules by which they skip it. maxData bounds the data in bytes.
func CheckMessage(m *nats.Msg, maxData int) error {
	if _, skipped := decode(m.Header, m.Data, maxData); skipped != "" {
		return errors.New(skipped)
	}
	return nil
}
