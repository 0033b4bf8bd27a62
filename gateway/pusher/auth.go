package pusher

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// Signin is the payload of a sign-in (protocol section 1.13). Its strings are slices of the message, like
// [ClientFrame.Data], except for UserID.
type Signin struct {
	Auth string
	// UserData is a JSON object. The signature covers exactly these bytes.
	UserData string
	// UserID is the id in UserData. It must not be used before [VerifyUser] has verified the signature.
	UserID string
}

// ParseSignin parses the data of a sign-in request.
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
	s.UserID = strings.Clone(id.Str) // it is kept for longer than the message
	return s, nil
}
