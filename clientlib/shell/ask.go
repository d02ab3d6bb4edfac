package shell

import (
	"bufio"
	"io"
	"strings"
)

// asker reads the answers of a person. It reads byte by byte, so that it takes nothing of the lines behind the answer.
type asker struct{ in io.Reader }

func newAsker(in io.Reader) *asker { return &asker{in: in} }

func (a *asker) line() (string, error) {
	return bufio.NewReaderSize(oneByte{a.in}, 16).ReadString('\n')
}

// oneByte reads no more than one byte at a time.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.r.Read(p[:1])
}

// confirm asks whether to go on with what is about to be destroyed. Without a terminal nobody can be asked, and only
// --yes will do.
func (c *call) confirm(what string) error {
	if c.yes {
		return nil
	}
	if !c.opt.Terminal {
		return usageError{errUnsure}
	}
	if _, err := io.WriteString(c.opt.Err, what+" Are you sure? [y/N] "); err != nil {
		return err
	}
	answer, err := c.asker.line()
	if err != nil && answer == "" {
		return errDeclined
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}
