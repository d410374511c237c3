package chaos

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves what it hears, on a network before it; dial opens a connection to it, as "a".
func echo(t *testing.T, who string) (n *Network, dial func() (net.Conn, error)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	n = NewNetwork(func(net.Conn) string { return who })
	p, err := n.Proxy("b", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Close()
		l.Close()
		<-served
	})
	return n, func() (net.Conn, error) {
		c, err := net.Dial("tcp", p.Address())
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
}

func must(t *testing.T) func(net.Conn, error) net.Conn {
	return func(c net.Conn, err error) net.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// says sends a word and gives how long its echo takes, or the error.
func says(c net.Conn, within time.Duration) (time.Duration, error) {
	began := time.Now()
	if _, err := io.WriteString(c, "word"); err != nil {
		return 0, err
	}
	_ = c.SetReadDeadline(began.Add(within))
	_, err := io.ReadFull(c, make([]byte, 4))
	return time.Since(began), err
}

const soon = 10 * time.Second // never waited out unless a test fails

func TestWhatIsCut(t *testing.T) {
	n, dial := echo(t, "a")
	c, other := must(t)(dial()), must(t)(dial())
	for _, conn := range []net.Conn{c, other} { // the proxy has both
		if _, err := says(conn, soon); err != nil {
			t.Fatal(err)
		}
	}
	// A rule of others is none of theirs.
	defer n.Cut("a", "c", false)()
	if _, err := says(c, soon); err != nil {
		t.Error(err)
	}
	mend := n.Cut("b", "a", false)
	if _, err := says(c, soon); err == nil {
		t.Error("a connection that was cut goes on")
	}
	late, err := dial() // it may be broken before that returns
	if err == nil {
		_, err = says(late, soon)
	}
	if err == nil {
		t.Error("a connection comes about where there is a cut")
	}
	mend()
	if _, err := says(must(t)(dial()), soon); err != nil {
		t.Error(err)
	}
	if _, err := says(other, soon); err == nil {
		t.Error("the other connection was not cut")
	}
}

func TestWhatIsSilent(t *testing.T) {
	n, dial := echo(t, "a")
	c := must(t)(dial())
	if _, err := says(c, soon); err != nil {
		t.Fatal(err)
	}
	mend := n.Cut("b", "", true)
	if _, err := says(c, 50*time.Millisecond); !os.IsTimeout(err) {
		t.Errorf("something came through: %v", err)
	}
	mend()
	_ = c.SetReadDeadline(time.Now().Add(soon))
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Errorf("what was said in silence is lost: %v", err)
	}
}

func TestAnObserverIsSpared(t *testing.T) {
	n, dial := echo(t, Observer)
	defer n.Cut("b", "", false)()
	if _, err := says(must(t)(dial()), soon); err != nil {
		t.Error(err)
	}
}

func TestWhatIsDelayed(t *testing.T) {
	n, dial := echo(t, "a")
	c := must(t)(dial())
	const each = 30 * time.Millisecond
	defer n.Delay("a", "b", each)()
	if took, err := says(c, soon); err != nil || took < 2*each {
		t.Errorf("there and back took %v (%v), and each way takes %v more", took, err, each)
	}
}

func TestOwner(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("no /proc here")
	}
	found := make(chan string, 1)
	n := NewNetwork(func(c net.Conn) string {
		who, _ := Owner(c, map[int]string{os.Getpid(): "me"})
		found <- who
		return who
	})
	defer n.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := n.Proxy("b", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if who := <-found; who != "me" {
		t.Errorf("this process opened the connection, and it is said to be %q", who)
	}
}
