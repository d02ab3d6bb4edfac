package journal

import (
	"fmt"
	"io"
	"log"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger writes the messages of Raft to zap, at their own levels. The level in force is that of zap.
type logger struct {
	name    string
	implied []any
	zap     *zap.Logger
}

func newLogger(l *zap.Logger) hclog.Logger {
	return &logger{name: "raft", zap: l.Named("raft").WithOptions(zap.AddCallerSkip(2))}
}

func (l *logger) write(level zapcore.Level, msg string, args []any) {
	e := l.zap.Check(level, msg)
	if e == nil {
		return
	}
	args = append(append([]any(nil), l.implied...), args...)
	fields := make([]zap.Field, 0, len(args)/2+1)
	for len(args) > 1 {
		if f, ok := args[1].(hclog.Format); ok && len(f) > 0 {
			args[1] = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		fields = append(fields, zap.Any(fmt.Sprint(args[0]), args[1]))
		args = args[2:]
	}
	if len(args) == 1 {
		fields = append(fields, zap.Any("extra", args[0]))
	}
	e.Write(fields...)
}

var levels = map[hclog.Level]zapcore.Level{
	hclog.Trace: zapcore.DebugLevel, hclog.Debug: zapcore.DebugLevel, hclog.Info: zapcore.InfoLevel,
	hclog.Warn: zapcore.WarnLevel, hclog.Error: zapcore.ErrorLevel,
}

// The methods of hclog.Logger.

func (l *logger) Log(level hclog.Level, msg string, args ...any) { l.write(levels[level], msg, args) }
func (l *logger) Trace(msg string, args ...any)                  { l.write(zapcore.DebugLevel, msg, args) }
func (l *logger) Debug(msg string, args ...any)                  { l.write(zapcore.DebugLevel, msg, args) }
func (l *logger) Info(msg string, args ...any)                   { l.write(zapcore.InfoLevel, msg, args) }
func (l *logger) Warn(msg string, args ...any)                   { l.write(zapcore.WarnLevel, msg, args) }
func (l *logger) Error(msg string, args ...any)                  { l.write(zapcore.ErrorLevel, msg, args) }

func (l *logger) IsTrace() bool { return false }
func (l *logger) IsDebug() bool { return l.zap.Core().Enabled(zapcore.DebugLevel) }
func (l *logger) IsInfo() bool  { return l.zap.Core().Enabled(zapcore.InfoLevel) }
func (l *logger) IsWarn() bool  { return l.zap.Core().Enabled(zapcore.WarnLevel) }
func (l *logger) IsError() bool { return l.zap.Core().Enabled(zapcore.ErrorLevel) }

func (l *logger) ImpliedArgs() []any { return l.implied }
func (l *logger) Name() string       { return l.name }

func (l *logger) With(args ...any) hclog.Logger {
	return &logger{name: l.name, implied: append(append([]any(nil), l.implied...), args...), zap: l.zap}
}

func (l *logger) Named(name string) hclog.Logger { return l.ResetNamed(l.name + "." + name) }

func (l *logger) ResetNamed(name string) hclog.Logger {
	return &logger{name: name, implied: l.implied, zap: l.zap}
}

// SetLevel does nothing: the level is zap's.
func (l *logger) SetLevel(hclog.Level) {}

func (l *logger) GetLevel() hclog.Level {
	if l.IsDebug() {
		return hclog.Debug
	}
	return hclog.Info
}

func (l *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return zap.NewStdLog(l.zap)
}

func (l *logger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(opts).Writer()
}
