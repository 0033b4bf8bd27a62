package hub

import (
	"encoding/json"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// signIn makes a connection that of a user (protocol section 1.13).
func (c *Client) signIn(data json.RawMessage) {
	if !c.app.UserAuth {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "user authentication is not enabled for this app")
		return
	}
	s, err := pusher.ParseSignin(data)
	if err != nil {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "signin: %v", err)
		return
	}
	if err := pusher.VerifyUser(c.app.Key, c.app.Secret.Reveal(), s.Auth, c.id, s.UserData); err != nil {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "signin: %v", err)
		return
	}
	if c.user != "" && c.user != s.UserID {
		c.deny(refusedSignin, "", pusher.ErrorUnauthorized, "signin: this connection is signed in as another user")
		return
	}
	first := c.user == ""
	c.user = s.UserID
	c.info, c.infoErr = pusher.UserInfo(s.UserData, c.app.Limits.MaxMemberInfo)
	c.authorized.Store(true)
	answer := append([]byte(nil), `{"user_data":`...)
	answer = append(pusher.AppendString(answer, s.UserData), '}')
	c.control(pusher.Control{Event: "signin_success", Text: string(answer)})
	if first {
		c.hub.signedIn(c)
		c.watch(s.UserData)
	}
}
