// Package timerslack lets the kernel be late with the timeouts of this process. It knows nothing of what waits for them.
//
// Go's runtime has a thread that looks after the scheduler. While anything happens it sleeps 20 us at a time, which becomes 70
// with the slack of 50 us that Linux gives a process, and it goes on so for 50 rounds after the last thing that happened. On a
// server that serves one request at a time, or none at all but a heartbeat, it is the busiest thread: 1,200 of the 1,300 context
// switches per second of an idle replica server. What it looks for, processors to take from system calls and goroutines that run
// for too long, is a matter of milliseconds where there are processors enough, and there are (see pegasus-replica).
//
// Measured with 3 replica servers and 3 metas on two processors, slack of 50 us against 1 ms: idle, 1.5 to 3.4 % of a processor per
// process against 1 to 2.1 %; one replicated put at a time, 560 to 620 us of server CPU against 380 to 390, p50 560 to 590 us
// against 440.
//
// The thread inherits its slack from the one that starts the runtime, and no thread may set that of another without privileges.
// So it has to be set before the program starts: by whoever starts it (systemd has TimerSlackNSec), or by starting again.
package timerslack

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Relaxed is the slack for a server: all its timeouts may be that much late.
const Relaxed = time.Millisecond

// Normal is what Linux gives a process, and what a thread asks for whose timeouts matter.
const Normal = 50 * time.Microsecond

// Restart gives the whole process a slack by executing its program again, same process, arguments and environment, unless it has as
// much already. Call it before anything else in main. Where it cannot be done the program goes on as it is.
func Restart(slack time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if have, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || have >= int(slack) {
		return
	}
	program, err := os.Executable()
	if err != nil || SetThread(slack) != nil {
		return
	}
	_ = syscall.Exec(program, os.Args, os.Environ()) // it returns only when it failed
	_ = SetThread(Normal)
}

// SetThread sets the slack of the calling thread, to which the goroutine must be locked.
func SetThread(slack time.Duration) error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0))
}
