package shell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// history keeps the lines of sessions in a file, one a line, the newest last. It is a history source of the editor.
type history struct {
	file  string // empty: in memory only
	lines []string
}

// defaultHistory is how many lines are kept when nobody says otherwise.
const defaultHistory = 1000

// openHistory reads the newest lines of a file and cuts it down to them. An error leaves a history in memory.
func openHistory(file string, size int) (*history, error) {
	if file == "" {
		return &history{}, nil
	}
	if size <= 0 {
		size = defaultHistory
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err != nil {
		return &history{}, fmt.Errorf("history: %w", err)
	}
	h := &history{file: file}
	h.lines = strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' })
	if len(h.lines) > size {
		h.lines = slices.Clone(h.lines[len(h.lines)-size:])
		if err := os.WriteFile(file, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600); err != nil {
			return &history{}, fmt.Errorf("history: %w", err)
		}
	}
	return h, nil
}

// Write implements the editor's history source.
func (h *history) Write(line string) (int, error) {
	line = strings.TrimSpace(strings.ReplaceAll(line, "\n", " "))
	if line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return len(h.lines), nil
	}
	h.lines = append(h.lines, line)
	if h.file == "" {
		return len(h.lines), nil
	}
	f, err := os.OpenFile(h.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return len(h.lines), err
	}
	_, err = f.WriteString(line + "\n")
	return len(h.lines), errors.Join(err, f.Close())
}

var errNoLine = errors.New("no such line in the history")

// GetLine implements the editor's history source.
func (h *history) GetLine(i int) (string, error) {
	if i < 0 || i >= len(h.lines) {
		return "", errNoLine
	}
	return h.lines[i], nil
}

// Len implements the editor's history source.
func (h *history) Len() int { return len(h.lines) }

// Dump implements the editor's history source.
func (h *history) Dump() any { return h.lines }
