package core

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Values of environments are read as Apache Pegasus reads them, with C's strtoll in base 0: blanks before the number, a
// sign, 0x for base 16 and a leading 0 for base 8 are accepted, anything behind the number is not.

// parseUint reads the magnitude and sign; ok is false when s is not one whole number or does not fit 64 bits.
func parseUint(s string) (v uint64, neg, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	base := uint64(10)
	switch {
	case len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	if s == "" {
		return 0, neg, false
	}
	for i := 0; i < len(s); i++ {
		d := digit(s[i])
		if d >= base {
			return 0, neg, false
		}
		hi, lo := bits.Mul64(v, base)
		sum, carry := bits.Add64(lo, d, 0)
		if hi != 0 || carry != 0 {
			return 0, neg, false
		}
		v = sum
	}
	return v, neg, true
}

func digit(c byte) uint64 {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0')
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10
	}
	return math.MaxUint64
}

func envInt(s string, width int) (int64, bool) {
	v, neg, ok := parseUint(s)
	limit := uint64(1) << (width - 1)
	switch {
	case !ok || neg && v > limit || !neg && v >= limit:
		return 0, false
	case neg:
		return -int64(v), true
	}
	return int64(v), true
}

// envUint reads an unsigned number; "-0" counts as 0, other negative numbers are refused.
func envUint(s string) (uint64, bool) {
	v, neg, ok := parseUint(s)
	return v, ok && (!neg || v == 0)
}

// fields splits at sep and strips blanks. Fields that are empty then are left out unless keepEmpty. Text behind a NUL
// byte does not count.
func fields(s string, sep byte, keepEmpty bool) []string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	var out []string
	for f := range strings.SplitSeq(s, string(sep)) {
		f = strings.TrimRight(strings.TrimLeft(f, " \t"), " \t\r\n")
		if f != "" || keepEmpty {
			out = append(out, f)
		}
	}
	return out
}

// throttleUnits reads a number with an optional K or M behind it.
func throttleUnits(s string) (units uint64, hint string) {
	multiplier := uint64(1)
	switch {
	case strings.HasSuffix(s, "M"):
		multiplier = 1 << 20
	case strings.HasSuffix(s, "K"):
		multiplier = 1 << 10
	}
	if multiplier != 1 {
		s = s[:len(s)-1]
	}
	v, ok := envUint(s)
	if !ok {
		return 0, fmt.Sprintf("'%s' should be an unsigned integer", s)
	}
	hi, lo := bits.Mul64(v, multiplier)
	if hi != 0 {
		return 0, fmt.Sprintf("'%s' result is overflow", s)
	}
	return lo, ""
}

// throttleRule reads "<units>*<delay|reject>*<milliseconds>".
func throttleRule(s string) (units uint64, kind, hint string) {
	f := fields(s, '*', true)
	if len(f) != 3 {
		return 0, "", fmt.Sprintf("The field count of '%s' separated by '*' must be 3", s)
	}
	units, hint = throttleUnits(f[0])
	if hint != "" {
		return 0, "", hint
	}
	if f[1] != "delay" && f[1] != "reject" {
		return 0, "", fmt.Sprintf("'%s' should be 'delay' or 'reject'", f[1])
	}
	if _, ok := envUint(f[2]); !ok {
		return 0, "", fmt.Sprintf("'%s' should be an unsigned integer", f[2])
	}
	return units, f[1], ""
}

// throttling reads a list of at most one delay and one reject rule and returns the units of the reject rule.
func throttling(s string) (reject uint64, hint string) {
	rules := fields(s, ',', false)
	if len(rules) == 0 {
		return 0, "The value shouldn't be empty"
	}
	seen := make(map[string]bool, 2)
	for _, r := range rules {
		units, kind, hint := throttleRule(r)
		if hint != "" {
			return 0, hint
		}
		if seen[kind] {
			return 0, fmt.Sprintf("duplicate '%s' config", kind)
		}
		seen[kind] = true
		if kind == "reject" {
			reject = units
		}
	}
	return reject, ""
}

// readSizeThrottling reads a plain size, one delay rule, or a throttling list that has a reject rule.
func readSizeThrottling(s string) (hint string) {
	if u, h := throttleUnits(s); h == "" && u > 0 {
		return ""
	}
	if _, kind, h := throttleRule(s); h == "" && kind == "delay" {
		return ""
	}
	reject, hint := throttling(s)
	if hint == "" && reject == 0 {
		hint = "reject value should be greater than 0"
	}
	return hint
}
