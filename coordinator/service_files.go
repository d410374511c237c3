package coordinator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const piece = 1 << 20 // bytes of a file in one message

// fileNames are the kinds of files for people, and what to do where one is absent.
var fileNames = map[ditherv1.FileKind]struct{ name, todo string }{
	ditherv1.FileKind_FILE_KIND_TEACHER:    {"teacher", "give one with --teacher FILE"},
	ditherv1.FileKind_FILE_KIND_INIT:       {"start", "give one with --init FILE"},
	ditherv1.FileKind_FILE_KIND_CHECKPOINT: {"checkpoint", "begin from the spec's start"},
}

// file opens a file of the run.
func (t *term) file(k ditherv1.FileKind) (*os.File, uint64, error) {
	kind, ok := fileNames[k]
	if !ok {
		return nil, 0, ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("no kind of file is called %v", k), "GetFile", "ask for the teacher, the start or the checkpoint")
	}
	path := t.config.Files[k]
	if newest, ok := t.store.newest(); ok && path == "" && k == ditherv1.FileKind_FILE_KIND_CHECKPOINT {
		path = t.store.path(newest)
	}
	where := "run " + t.config.Run
	if path == "" {
		return nil, 0, ditherv1.Fault(codes.NotFound, "it has no "+kind.name+" file", where, kind.todo)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, ditherv1.Fault(codes.NotFound, fmt.Sprintf("its %s file %s is gone", kind.name, path), where, "put it back or make the run anew")
	}
	unreadable := func(err error) error {
		return ditherv1.Fault(codes.Internal, fmt.Sprintf("its %s file cannot be read: %v", kind.name, err), where, "see to the file")
	}
	if err != nil {
		return nil, 0, unreadable(err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, 0, unreadable(err)
	}
	return file, uint64(info.Size()), nil
}

// GetFile implements CoordinatorService.
func (s *service) GetFile(m *ditherv1.GetFileRequest, stream grpc.ServerStreamingServer[ditherv1.GetFileResponse]) error {
	t, err := s.leads("GetFile")
	if err != nil {
		return err
	}
	file, total, err := t.file(m.GetKind())
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	for sent := uint64(0); ; {
		// A fresh buffer for each piece: gRPC may still hold the last one.
		data := make([]byte, min(piece, total-sent))
		if _, err := io.ReadFull(file, data); err != nil {
			return ditherv1.Fault(codes.DataLoss, fmt.Sprintf("its file %s cannot be read: %v", file.Name(), err), "run "+t.config.Run, "see to the file, which must not change while the run goes on")
		}
		if err := stream.Send(&ditherv1.GetFileResponse{TotalBytes: total, Data: data}); err != nil {
			return err
		}
		if sent += uint64(len(data)); sent == total {
			return nil
		}
	}
}

// GetFile gives a file of the run in this process, as CoordinatorService does: NOT_FOUND where the run has none.
func (c *Coordinator) GetFile(kind ditherv1.FileKind) ([]byte, error) {
	t, err := (&service{c: c}).leads("GetFile")
	if err != nil {
		return nil, err
	}
	file, _, err := t.file(kind)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return io.ReadAll(file)
}

// PutCheckpoint implements CoordinatorService.
func (s *service) PutCheckpoint(stream grpc.ClientStreamingServer[ditherv1.PutCheckpointRequest, ditherv1.PutCheckpointResponse]) error {
	t, err := s.leads("PutCheckpoint")
	if err != nil {
		return err
	}
	head, err := stream.Recv()
	if err != nil {
		return noPiece(err)
	}
	path, err := t.putCheckpoint(head, stream.Recv)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&ditherv1.PutCheckpointResponse{Path: path})
}

// PutCheckpoint writes a checkpoint in this process, as CoordinatorService does, and says where it is.
func (c *Coordinator) PutCheckpoint(iteration uint32, specSHA256 string, data []byte) (path string, err error) {
	t, err := (&service{c: c}).leads("PutCheckpoint")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return t.putCheckpoint(&ditherv1.PutCheckpointRequest{Iteration: iteration, SpecSha256: specSHA256, FileSha256: hex.EncodeToString(sum[:]), TotalBytes: uint64(len(data)), Data: data},
		func() (*ditherv1.PutCheckpointRequest, error) { return nil, io.EOF })
}

// putCheckpoint writes a checkpoint whose first piece is head, and whose others next gives. One that the disk does not take fails the run.
func (t *term) putCheckpoint(head *ditherv1.PutCheckpointRequest, next func() (*ditherv1.PutCheckpointRequest, error)) (string, error) {
	k := head.GetIteration()
	if err := t.accepts(head); err != nil {
		return "", err
	}
	fresh, err := t.store.take(head, next)
	if err != nil {
		t.log.Error("a checkpoint was not taken", "iteration", k, "error", ditherv1.Message(err))
		if errors.Is(err, errDisk) {
			t.mu.Lock()
			t.cannotWrite(ditherv1.Message(err))
			t.mu.Unlock()
		}
		return "", err
	}
	if fresh {
		t.log.Info("checkpoint", "iteration", k, "path", relative(k), "bytes", head.GetTotalBytes())
		t.mu.Lock()
		t.after = max(t.after, k)
		t.keep(t.record.checkpoint(k))
		t.mu.Unlock()
	}
	return relative(k), nil
}

func noPiece(err error) error {
	if err == io.EOF {
		return ditherv1.Fault(codes.InvalidArgument, "no piece came", "checkpoint", "send the header and the bytes")
	}
	return err
}

// accepts refuses a checkpoint of another run.
func (t *term) accepts(head *ditherv1.PutCheckpointRequest) error {
	where := fmt.Sprintf("checkpoint after iteration %d", head.GetIteration())
	spec := t.config.Spec
	switch {
	case head.GetSpecSha256() != t.config.SpecSHA256:
		return ditherv1.Fault(codes.FailedPrecondition, fmt.Sprintf("it belongs to the spec %.12s and this run has %.12s", head.GetSpecSha256(), t.config.SpecSHA256), where, "send it to its own coordinator")
	case head.GetIteration() > spec.GetIterations():
		return ditherv1.Fault(codes.InvalidArgument, fmt.Sprintf("the run has %d iterations", spec.GetIterations()), where, "send one of this run")
	case head.GetTotalBytes() == 0 || len(head.GetFileSha256()) != 64:
		return ditherv1.Fault(codes.InvalidArgument, "its first piece must have the file's size and sha256", where, "fill in the header")
	}
	return nil
}
