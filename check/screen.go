package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// colorMode is when there are colors: --color.
type colorMode string

// The values of --color.
const (
	colorAuto   colorMode = "auto" // on a terminal that shows them
	colorAlways colorMode = "always"
	colorNever  colorMode = "never"
)

func parseColor(s string) (colorMode, error) {
	switch mode := colorMode(s); mode {
	case colorAuto, colorAlways, colorNever:
		return mode, nil
	}
	return "", fmt.Errorf("%q is not one of auto, always or never", s)
}

// on reports whether there are colors (no-color.org, bixense.com/clicolors).
func (m colorMode) on(isTerminal bool) bool {
	switch force := os.Getenv("CLICOLOR_FORCE"); {
	case m != colorAuto:
		return m == colorAlways
	case os.Getenv("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	}
	return isTerminal && os.Getenv("TERM") != "dumb"
}

// sizeOf returns the size of a terminal, in characters.
func sizeOf(w io.Writer) (columns, lines int, isTerminal bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	columns, lines, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < 1 || lines < 1 { // a serial line, say, does not know its size
		return 80, 24, true
	}
	return columns, lines, true
}

// What a terminal is told (ECMA-48; the names with a question mark are DEC's).
const (
	alternateScreen = "\x1b[?1049h" // so that what was there comes back
	primaryScreen   = "\x1b[?1049l"
	hideCursor      = "\x1b[?25l"
	showCursor      = "\x1b[?25h"
	cutLines        = "\x1b[?7l" // instead of wrapping them
	wrapLines       = "\x1b[?7h"
	home            = "\x1b[H"
	clearLine       = "\x1b[K" // from the cursor on
	clearBelow      = "\x1b[J"
)

// screen is a terminal that is drawn as a whole, again and again.
type screen struct {
	out     *os.File
	restore func()
	keys    chan byte      // what is typed; closed never
	resized chan os.Signal // when the window has another size
}

// openScreen takes over the terminal until close. Without a terminal for input, nothing that
// is typed arrives.
func openScreen(in io.Reader, out *os.File) (*screen, error) {
	s := &screen{out: out, restore: func() {}, keys: make(chan byte, 16), resized: make(chan os.Signal, 1)}
	if typed, ok := in.(*os.File); ok && term.IsTerminal(int(typed.Fd())) {
		before, err := term.MakeRaw(int(typed.Fd()))
		if err != nil {
			return nil, fmt.Errorf("take over the terminal: %w", err)
		}
		s.restore = func() { term.Restore(int(typed.Fd()), before) }
		go s.read(typed) // a read of a terminal can't be ended: it ends with the process
	}
	signal.Notify(s.resized, syscall.SIGWINCH)
	_, err := s.out.WriteString(alternateScreen + hideCursor + cutLines)
	return s, err
}

// read hands on what is typed, and drops what nobody takes.
func (s *screen) read(typed io.Reader) {
	key := make([]byte, 1)
	for {
		if _, err := typed.Read(key); err != nil {
			return
		}
		select {
		case s.keys <- key[0]:
		default:
		}
	}
}

// close leaves the terminal as it was.
func (s *screen) close() {
	signal.Stop(s.resized)
	s.out.WriteString(wrapLines + showCursor + primaryScreen)
	s.restore()
}

// size returns the size of the terminal, in characters.
func (s *screen) size() (columns, lines int) {
	columns, lines, _ = sizeOf(s.out)
	return columns, lines
}

// draw shows lines from the top on, as many as there is room for.
func (s *screen) draw(lines []string) error {
	_, most := s.size()
	lines = lines[:min(len(lines), most)]
	text := home
	for i, line := range lines {
		if i > 0 {
			text += "\r\n"
		}
		text += clearLine + line // before it, since a line that fills the terminal leaves the cursor on its last character
	}
	if len(lines) < most {
		text += "\r\n" + clearBelow
	}
	_, err := s.out.WriteString(text)
	return err
}
