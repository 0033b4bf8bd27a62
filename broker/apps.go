package broker

import (
	"errors"
	"fmt"
)

// Apps are what a backend has of its apps, by their ids.
type Apps[A interface {
	// Ready says whether it can be used yet.
	Ready() bool
}] map[string]A

// Get returns what there is of an app that can be used. Errors: [ErrUnknownApp], and
// [ErrUnavailable] if its log could not be opened yet.
func (m Apps[A]) Get(id string) (A, error) {
	var none A
	a, known := m[id]
	switch {
	case !known:
		return none, fmt.Errorf("%w: %.100q", ErrUnknownApp, id)
	case !a.Ready():
		return none, fmt.Errorf("%w: the log of the app %.100q could not be opened yet", ErrUnavailable, id)
	}
	return a, nil
}

// MaxEventData is the largest limit of the data of an event in bytes.
const MaxEventData = 8 << 20

// CheckLog says what is wrong with the ids of the apps of a log and with its limit of the data
// of an event in bytes.
func CheckLog[A any](apps []A, idOf func(A) string, maxData int) error {
	var errs []error
	if len(apps) == 0 {
		errs = append(errs, errors.New("apps: at least one is needed"))
	}
	for _, a := range apps {
		id := idOf(a)
		if id == "" || len(id) > 100 {
			errs = append(errs, fmt.Errorf("app id %.40q: must have 1 to 100 bytes", id))
		}
		if ReservedApp(id) {
			errs = append(errs, fmt.Errorf("app id %.40q: ids that begin with # are reserved", id))
		}
	}
	if maxData < 1 || maxData > MaxEventData {
		errs = append(errs, fmt.Errorf("the largest data is %d bytes, must be 1 to %d", maxData, MaxEventData))
	}
	return errors.Join(errs...)
}
