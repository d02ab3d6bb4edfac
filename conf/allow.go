package conf

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// The rules of the `allow` tag:
//
//	1..64, 4KiB..1GiB, 10ms..1m   a range, both ends included, for numbers, sizes and durations
//	group|os                      one of these words
//	address                       host:port
//	address?                      host:port, or empty
//	path, path?                   a file or folder, or (with ?) empty
//	name, name?                   (or with ? empty) letters, digits, dot, dash and underscore

func wanted(rule string) string {
	switch rule {
	case "address":
		return `an address such as "10.0.0.1:34801"`
	case "address?":
		return `an address such as "10.0.0.1:34801", or "" to leave it out`
	case "path":
		return "a path that is not empty"
	case "path?":
		return `a path, or "" to leave it out`
	case "name":
		return "1 to 64 letters, digits, dots, dashes or underscores"
	case "name?":
		return `1 to 64 letters, digits, dots, dashes or underscores, or "" to leave it out`
	}
	if low, high, ok := strings.Cut(rule, ".."); ok {
		return fmt.Sprintf("%s to %s", low, high)
	}
	words := strings.Split(rule, "|")
	return `"` + strings.Join(words, `" or "`) + `"`
}

func allowedText(rule, s string) bool {
	switch rule {
	case "address":
		return isAddress(s)
	case "address?":
		return s == "" || isAddress(s)
	case "path":
		return s != "" && !strings.ContainsRune(s, 0)
	case "path?":
		return !strings.ContainsRune(s, 0)
	case "name":
		return isName(s)
	case "name?":
		return s == "" || isName(s)
	}
	return slices.Contains(strings.Split(rule, "|"), s)
}

func allowedNumber(rule string, n int64) bool {
	low, high, ok := strings.Cut(rule, "..")
	if !ok {
		panic("conf: a number needs a range, not " + rule)
	}
	return bound(low) <= n && n <= bound(high)
}

// bound reads one end of a range of an allow tag: a size, a duration or a plain number.
func bound(s string) int64 {
	if n, err := ParseSize(s); err == nil {
		return int64(n)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	d, err := ParseDuration(s)
	if err != nil {
		panic("conf: not a bound: " + s)
	}
	return int64(d)
}

func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsAny(host, " \t/") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func isName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// anyHost tells whether an address binds to all interfaces, so that nobody could dial it.
func anyHost(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsUnspecified()
}

func portOf(address string) int {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}
