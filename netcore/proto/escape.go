package proto

import (
	"errors"
	"fmt"
	"strings"
)

// Keys are arbitrary bytes. Where people read or write them, and in the answers of the admin plane that are text, they have
// the C escapes of Apache Pegasus (c_escape_string of its shell).

const escapeDigits = "0123456789ABCDEF"

// escapeLetters has the letter of the escapes with a letter, by the byte that they stand for; 0 for all others.
var escapeLetters = [256]byte{'\n': 'n', '\r': 'r', '\t': 't', '"': '"', '\'': '\'', '\\': '\\'}

// EscapeText prints bytes: printable ASCII as it is, the rest as \n, \r, \t, \", \', \\ or \xHH. With all every byte becomes
// \xHH.
func EscapeText(b []byte, all bool) string {
	var out strings.Builder
	out.Grow(len(b))
	for _, c := range b {
		letter := escapeLetters[c]
		switch {
		case all || letter == 0 && (c < 0x20 || c >= 0x7f):
			out.WriteString(`\x`)
			out.WriteByte(escapeDigits[c>>4])
			out.WriteByte(escapeDigits[c&15])
		case letter != 0:
			out.WriteByte('\\')
			out.WriteByte(letter)
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// UnescapeText is the inverse of EscapeText. A backslash that begins none of its escapes is an error, so that a typing mistake does
// not become a key.
func UnescapeText(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, errors.New(`a lone \ at the end; write \\ for a backslash`)
		}
		switch c := s[i]; c {
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case '"', '\'', '\\':
			out = append(out, c)
		case 'x':
			if i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0 {
				return nil, fmt.Errorf(`\x at byte %d wants two hex digits`, i-1)
			}
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			return nil, fmt.Errorf(`\%c at byte %d is no escape; known: \n \r \t \" \' \\ \xHH`, c, i-1)
		}
	}
	return out, nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
