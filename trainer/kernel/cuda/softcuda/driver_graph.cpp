// Graphs that come from captures: lists of operations, replayed in the order in which they were captured, which is one of those that a
// graph allows.
#include "driver.h"

namespace softcuda {

namespace {
std::set<CUgraph> graphs;
std::set<CUgraphExec> executables;
}  // namespace

void keep_graph(CUgraph graph) { graphs.insert(graph); }

}  // namespace softcuda

using namespace softcuda;

CUresult cuGraphCreate(CUgraph *graph, unsigned flags) {
	ENTER();
	if (!graph || flags) return CUDA_ERROR_INVALID_VALUE;
	keep_graph(*graph = new CUgraph_st);
	return CUDA_SUCCESS;
}

CUresult cuGraphClone(CUgraph *clone, CUgraph graph) {
	ENTER();
	if (!clone || !graphs.count(graph)) return CUDA_ERROR_INVALID_VALUE;
	keep_graph(*clone = new CUgraph_st(*graph));
	return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
	ENTER();
	if (!graphs.erase(graph)) return CUDA_ERROR_INVALID_VALUE;
	delete graph;
	return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec *executable, CUgraph graph, unsigned long long) {
	ENTER_CONTEXT();
	if (!executable || !graphs.count(graph)) return CUDA_ERROR_INVALID_VALUE;
	*executable = new CUgraphExec_st{graph->operations};
	executables.insert(*executable);
	return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
	ENTER_CONTEXT();
	if (!executables.count(executable)) return CUDA_ERROR_INVALID_VALUE;
	return alive(stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
	ENTER_CONTEXT();
	if (!executables.count(executable)) return CUDA_ERROR_INVALID_VALUE;
	// A copy of the list: the executable may be gone when it runs.
	return enqueue(stream, [operations = executable->operations] {
		for (const Operation &operation : operations) {
			const CUresult error = operation();
			if (error != CUDA_SUCCESS) return error;
		}
		return CUDA_SUCCESS;
	});
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
	ENTER();
	if (!executables.erase(executable)) return CUDA_ERROR_INVALID_VALUE;
	delete executable;
	return CUDA_SUCCESS;
}
