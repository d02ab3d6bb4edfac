// Package words cuts lines that people type into words, and writes words so that they can be typed.
package words

import (
	"errors"
	"strings"
)

// ErrOpenQuote is returned for a line that ends inside quotes.
var ErrOpenQuote = errors.New("a quote is not closed")

// Split cuts a line at blanks. Quotes keep blanks together: 'single' takes everything as it is, "double" leaves C escapes
// to whoever reads the word but for \", which is a quote. Outside quotes a backslash before a blank or a quote makes it
// an ordinary character; all others stay, because keys are written with C escapes. A word that begins with # starts a
// comment. The words are thus the same as those of a POSIX shell for everything that is quoted.
func Split(line string) ([]string, error) {
	words, open := cut(line)
	if open {
		return nil, ErrOpenQuote
	}
	return words, nil
}

// Partial is Split for a line that is still being typed: an open quote is closed, and the last word is the one that the
// cursor is in, empty after a blank.
func Partial(line string) []string {
	words, open := cut(line)
	if open || line != "" && !strings.HasSuffix(line, " ") && !strings.HasSuffix(line, "\t") && len(words) > 0 {
		return words
	}
	return append(words, "")
}

func cut(line string) (words []string, open bool) {
	var word strings.Builder
	inside := false // a word has begun, if only with quotes
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'':
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\\' && i+1 < len(line):
			i++
			next := line[i]
			blank := next == ' ' || next == '\t' || next == '\''
			if next != '"' && (quote != 0 || !blank) {
				word.WriteByte('\\')
			}
			word.WriteByte(next)
			inside = true
		case quote == '"':
			if c == quote {
				quote = 0
			} else {
				word.WriteByte(c)
			}
		case c == '\'' || c == '"':
			quote, inside = c, true
		case c == ' ' || c == '\t':
			if inside {
				words = append(words, word.String())
				word.Reset()
				inside = false
			}
		case c == '#' && !inside:
			return words, false
		default:
			word.WriteByte(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words, quote != 0
}

// Quote writes a word so that Split reads it back as one word with the same text.
func Quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t'\"\\#") {
		return word
	}
	if !strings.Contains(word, "'") {
		return "'" + word + "'"
	}
	var b strings.Builder
	for i, part := range strings.Split(word, "'") {
		if i > 0 {
			b.WriteString(`\'`)
		}
		if part != "" {
			b.WriteString("'" + part + "'")
		}
	}
	return b.String()
}
