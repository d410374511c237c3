package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator/membership"
)

func newServeEtcdCommand(a *app) *cobra.Command {
	s := &serveFlags{}
	var o membership.EmbedOptions
	var dir string
	cmd := &cobra.Command{Use: "etcd", Short: "Be an etcd, or a member of one, for those who have none", Args: noArgs,
		Long: "It is the etcd that `dither run` embeds, with data that outlive it. Of three members one may be lost. It asks nobody who he is: keep its network to yourself.",
		Example: "  dither serve etcd --folder etcd --listen 10.0.0.1:2379\n" +
			"  dither serve etcd --folder etcd --listen 10.0.0.1:2379 --peer-listen 10.0.0.1:2380 --name a --cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380"}
	s.define(cmd, false)
	cmd.Flags().StringVar(&dir, "folder", "", "where its data are kept")
	cmd.Flags().StringVar(&o.PeerListen, "peer-listen", "", "HOST:PORT on which it hears the other members")
	cmd.Flags().StringVar(&o.Name, "name", "", "its name among the members")
	cmd.Flags().StringVar(&o.Cluster, "cluster", "", "every member as NAME=http://HOST:PORT, itself among them, separated by commas")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := s.drain(cmd.Context())
		defer cancel()
		if dir == "" {
			return badInputf("--folder is missing; give the folder that is to hold the data of this etcd")
		}
		if err := s.etcdAddresses(&o); err != nil {
			return err
		}
		o.Keep = true
		e, err := membership.Embed(dir, o)
		if err != nil {
			return badInput(err)
		}
		defer e.Close()
		select {
		case <-e.Ready():
		case err := <-e.Failed():
			return etcdEnded(dir, err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		text, err := json.Marshal(listening{e.Endpoints()[0]})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\n", text); err != nil {
			return err
		}
		select {
		case err := <-e.Failed():
			return etcdEnded(dir, err)
		case <-ctx.Done():
			return nil
		}
	}
	return cmd
}

// etcdEnded is the error of an etcd that ended by itself.
func etcdEnded(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return temporary(fmt.Errorf("etcd in %s: %w; free some space there", dir, err))
	}
	return fmt.Errorf("etcd in %s: %w; see etcd.log there", dir, err)
}

// etcdAddresses checks where an etcd is to listen, and takes a free port where none is named.
func (f *serveFlags) etcdAddresses(o *membership.EmbedOptions) error {
	switch given := []bool{o.PeerListen != "", o.Name != "", o.Cluster != ""}; {
	case given[0] != given[1] || given[1] != given[2]:
		return badInputf("--peer-listen, --name and --cluster make a member of several together; give all of them, or none")
	}
	l, err := listen("--listen", f.listen)
	if err != nil {
		return err
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	o.Host, o.Port = at.IP.String(), uint16(at.Port)
	if f.advertise == "" {
		if at.IP.IsUnspecified() {
			return badInputf("--listen %s is every address of this machine: say with --advertise HOST:PORT under which one others reach it", f.listen)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(f.advertise)
	if err != nil || port != strconv.Itoa(at.Port) {
		return badInputf("--advertise %s: give HOST:PORT with the port on which it listens, %d", f.advertise, at.Port)
	}
	o.Advertise = host
	return nil
}
