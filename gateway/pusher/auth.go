package pusher

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// Signin is the payload of a sign-in (protocol section 1.13). Its parts are views of the
// message, as [ClientFrame.Data] is, except for the id.
type Signin struct {
	Auth string
	// UserData is signed byte for byte as it is here. It is a JSON object.
	UserData string
	// UserID is the id in UserData. It means nothing until the signature was
	// checked with [VerifyUser].
	UserID string
}

// ParseSignin reads the data of a sign-in request.
func ParseSignin(data string) (Signin, error) {
	v, err := payload(data)
	if err != nil {
		return Signin{}, err
	}
	var s Signin
	if s.Auth, err = text(v.Get("auth"), "auth"); err != nil {
		return Signin{}, err
	}
	if s.UserData, err = text(v.Get("user_data"), "user_data"); err != nil {
		return Signin{}, err
	}
	if s.UserData == "" {
		return Signin{}, errors.New("user_data is missing")
	}
	user, err := object(s.UserData)
	if err != nil {
		return Signin{}, errors.New("user_data holds no JSON object")
	}
	id := user.Get("id")
	if id.Type != gjson.String || id.Str == "" {
		return Signin{}, errors.New("user_data has no id that is a non-empty string")
	}
	if err := CheckUserID(id.Str); err != nil {
		return Signin{}, fmt.Errorf("user_data: %w", err)
	}
	s.UserID = strings.Clone(id.Str) // kept for longer than the message
	return s, nil
}
