package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// Member is a user in a presence channel. Info is a JSON object, nil for none.
type Member struct {
	ID   string
	Info json.RawMessage
}

// ErrMemberLimit is wrapped by errors about a user id or info that exceeds its limit, but not by errors about
// invalid ones.
var ErrMemberLimit = errors.New("over the limit")

// ParseMember parses the channel_data of a subscription to a presence channel (protocol section 1.9). A numeric
// user id becomes its decimal text. maxInfo bounds user_info in bytes.
func ParseMember(channelData string, maxInfo int) (Member, error) {
	root, err := object(channelData)
	if err != nil {
		return Member{}, errors.New("channel_data holds no JSON object")
	}
	var m Member
	switch id := root.Get("user_id"); id.Type {
	case gjson.String:
		m.ID = id.Str
	case gjson.Number:
		m.ID = id.Raw
	}
	if m.ID == "" {
		return Member{}, errors.New("channel_data has no user_id that is a non-empty string or a number")
	}
	if n := utf8.RuneCountInString(m.ID); n > maxUserID {
		return Member{}, fmt.Errorf("user_id has %d characters, %w of %d", n, ErrMemberLimit, maxUserID)
	}
	m.ID = strings.Clone(m.ID) // it is kept for longer than the message
	m.Info, err = memberInfo(root, maxInfo)
	return m, err
}

func memberInfo(v gjson.Result, max int) (json.RawMessage, error) {
	info := raw(v.Get("user_info"))
	switch {
	case len(info) > max:
		return nil, fmt.Errorf("user_info has %d bytes, %w of %d", len(info), ErrMemberLimit, max)
	case info == "":
		return nil, nil
	}
	return json.RawMessage(info), nil
}

// UserInfo returns the user_info of a sign-in's user_data, for joining presence channels without channel_data.
// max bounds it in bytes.
func UserInfo(userData string, max int) (json.RawMessage, error) {
	return memberInfo(gjson.Parse(userData), max)
}

func appendInfo(dst []byte, info json.RawMessage) []byte {
	if len(info) == 0 {
		return append(dst, `{}`...)
	}
	return append(dst, info...)
}

// AppendPresence appends the data of a successful subscription to a presence channel.
func AppendPresence(dst []byte, members []Member) []byte {
	dst = append(dst, `{"presence":{"ids":[`...)
	for i := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, members[i].ID)
	}
	dst = append(dst, `],"hash":{`...)
	for i := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, members[i].ID), ':')
		dst = appendInfo(dst, members[i].Info)
	}
	dst = append(dst, `},"count":`...)
	return append(strconv.AppendInt(dst, int64(len(members)), 10), "}}"...)
}

// AppendMemberAdded appends the data of a member_added event.
func AppendMemberAdded(dst []byte, m Member) []byte {
	dst = AppendString(append(dst, `{"user_id":`...), m.ID)
	return append(appendInfo(append(dst, `,"user_info":`...), m.Info), '}')
}

// AppendMemberRemoved appends the data of a member_removed event.
func AppendMemberRemoved(dst []byte, id string) []byte {
	return append(AppendString(append(dst, `{"user_id":`...), id), '}')
}

// AppendSubscriptionCount appends the data of a subscription_count event.
func AppendSubscriptionCount(dst []byte, n int) []byte {
	return append(strconv.AppendInt(append(dst, `{"subscription_count":`...), int64(n), 10), '}')
}

// maxWatchlist is the maximum number of users that one connection may watch.
const maxWatchlist = 100

// Watchlist returns the distinct users that a sign-in wants to watch, up to the limit, and whether there were
// more. bad is the error of the first entry that is not a user id; such entries are omitted.
func Watchlist(userData string) (users []string, more bool, bad error) {
	seen := map[string]bool{}
	list := gjson.Get(userData, "watchlist")
	if list.Type == gjson.Null {
		return nil, false, nil
	}
	if !list.IsArray() {
		return nil, false, errors.New("watchlist is not a list")
	}
	list.ForEach(func(_, v gjson.Result) bool {
		err := error(nil)
		if v.Type != gjson.String {
			err = fmt.Errorf("%.64s is not a string", v.Raw)
		} else {
			err = CheckUserID(v.Str)
		}
		if err != nil && bad == nil {
			bad = err
		}
		if err != nil || seen[v.Str] {
			return true
		}
		if len(users) == maxWatchlist {
			more = true
			return false
		}
		seen[v.Str] = true
		users = append(users, strings.Clone(v.Str))
		return true
	})
	return users, more, bad
}

// AppendWatchlist appends the data of a watchlist_events event.
func AppendWatchlist(dst []byte, online, offline []string) []byte {
	dst = append(dst, `{"events":[`...)
	first := true
	for _, e := range []struct {
		name  string
		users []string
	}{{"online", online}, {"offline", offline}} {
		if len(e.users) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(append(dst, `{"name":"`...), e.name...), `","user_ids":[`...)
		for i, u := range e.users {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, u)
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, "]}"...)
}
