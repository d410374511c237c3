package membership

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const etcdLogName = "etcd.log"

// etcdLog is what an embedded etcd has to say for itself, warnings and worse. Where etcd knows no way on, as with a disk that is full, it logs that as
// fatal, which would end this process on the spot, and everybody in it. Here the goroutine stops that logged it, with all that it holds, and the rest of
// the process goes on without an etcd.
type etcdLog struct {
	file   *os.File
	failed chan error // what etcd ended of; capacity 1
	gaveUp chan struct{}
	once   sync.Once // closes gaveUp
}

func openLog(dir string) (*etcdLog, error) {
	f, err := os.OpenFile(filepath.Join(dir, etcdLogName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	return &etcdLog{file: f, failed: make(chan error, 1), gaveUp: make(chan struct{})}, err
}

func (l *etcdLog) logger() *zap.Logger {
	form := zap.NewProductionEncoderConfig()
	form.EncodeTime = zapcore.ISO8601TimeEncoder
	core := zapcore.NewCore(zapcore.NewJSONEncoder(form), zapcore.Lock(l.file), zap.WarnLevel)
	return zap.New(core, zap.AddCaller(), zap.AddStacktrace(zap.ErrorLevel), zap.ErrorOutput(zapcore.Lock(l.file)), zap.WithFatalHook(l), zap.WithPanicHook(l))
}

// OnWrite implements zapcore.CheckWriteHook: etcd gives up. It does not return.
func (l *etcdLog) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := errors.New(e.Message)
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			err = fmt.Errorf("%s: %w", e.Message, cause)
		}
	}
	l.fail(err)
	l.once.Do(func() { close(l.gaveUp) })
	select {}
}

// fail tells of an end, if it is the first.
func (l *etcdLog) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

// start starts an etcd that logs here.
func (l *etcdLog) start(cfg *embed.Config) (*embed.Etcd, error) {
	started := make(chan *embed.Etcd, 1)
	go func() {
		e, err := embed.StartEtcd(cfg)
		if err != nil {
			l.fail(err)
			return
		}
		started <- e
		if err, open := <-e.Err(); open {
			l.fail(err)
		}
	}()
	select {
	case e := <-started:
		return e, nil
	case err := <-l.failed:
		return nil, err
	}
}

// over says whether etcd gave up.
func (l *etcdLog) over() bool {
	select {
	case <-l.gaveUp:
		return true
	default:
		return false
	}
}

// end ends an etcd that start gave. One that gave up, be it in ending, is left as it is: it would be waited for for ever.
func (l *etcdLog) end(e *embed.Etcd) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if !l.over() {
			e.Close()
		}
	}()
	select {
	case <-ended:
	case <-l.gaveUp:
	}
}

// Close closes the file; what is logged after that is lost.
func (l *etcdLog) Close() { _ = l.file.Close() }
