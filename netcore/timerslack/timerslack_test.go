package timerslack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const childEnv = "TIMERSLACK_TEST_CHILD"

// The child restarts itself with the slack and prints its process number before and after, its arguments and its slack.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		os.Exit(m.Run())
	}
	if before := os.Getenv(childEnv); before == "first" {
		os.Setenv(childEnv, fmt.Sprint(os.Getpid()))
		Restart(Control)
		fmt.Println("not restarted")
		os.Exit(1)
	}
	Restart(Control) // must not start again and again
	fmt.Println(os.Getenv(childEnv), os.Getpid(), strings.Join(os.Args[1:], ","))
	runtime.LockOSThread()
	n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	fmt.Println(n, err)
	os.Exit(0)
}

func TestRestart(t *testing.T) {
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "a", "b c")
	cmd.Env = append(os.Environ(), childEnv+"=first")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := fmt.Sprintf("%d %d a,b c\n%d <nil>\n", cmd.Process.Pid, cmd.Process.Pid, int(Control))
	if string(out) != want {
		t.Fatalf("got %q, want %q", out, want)
	}
}

func TestSetThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer SetThread(Normal)
	for _, d := range []int{int(Control), int(Normal)} {
		if err := SetThread(time.Duration(d)); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || n != d {
			t.Fatalf("slack %d, %v; want %d", n, err, d)
		}
	}
}
