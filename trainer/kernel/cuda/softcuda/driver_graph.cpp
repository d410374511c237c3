// Graphs that come from captures. A graph that runs does its nodes one behind the other, each behind those that it comes after: in the order in which they were captured or, with SOFTCUDA_CHECK=order, in the one that
// is as far from it as the graph allows.
#include "driver.h"

namespace softcuda {

namespace {
std::set<CUgraph> graphs;
std::set<CUgraphExec> executables;

std::vector<Operation> in_order(const CUgraph_st &graph) {
	const size_t n = graph.nodes.size();
	std::vector<size_t> waits(n);
	std::vector<std::vector<size_t>> next(n);
	std::set<size_t> ready;
	for (size_t i = 0; i < n; i++) {
		waits[i] = graph.nodes[i]->after.size();
		for (size_t before : graph.nodes[i]->after) next[before].push_back(i);
		if (waits[i] == 0) ready.insert(i);
	}
	std::vector<Operation> operations;
	while (!ready.empty()) {
		const size_t i = checks().order ? *ready.rbegin() : *ready.begin();
		ready.erase(i);
		operations.push_back(graph.nodes[i]->operation);
		for (size_t behind : next[i])
			if (--waits[behind] == 0) ready.insert(behind);
	}
	return operations;
}

CUresult instantiate(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
	constexpr unsigned long long known = CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH | CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD | CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY;
	if (!executable || !graphs.count(graph) || flags & ~known) return CUDA_ERROR_INVALID_VALUE;
	*executable = new CUgraphExec_st{in_order(*graph)};
	executables.insert(*executable);
	return CUDA_SUCCESS;
}
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
	*clone = new CUgraph_st;
	for (const auto &node : graph->nodes) (*clone)->nodes.emplace_back(new CUgraphNode_st(*node));
	keep_graph(*clone);
	return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
	ENTER();
	if (!graphs.erase(graph)) return CUDA_ERROR_INVALID_VALUE;
	delete graph;
	return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *n) {
	ENTER();
	if (!n || !graphs.count(graph)) return CUDA_ERROR_INVALID_VALUE;
	const size_t all = graph->nodes.size();
	if (!nodes) return *n = all, CUDA_SUCCESS;
	for (size_t i = 0; i < *n; i++) nodes[i] = i < all ? graph->nodes[i].get() : nullptr;
	if (*n > all) *n = all;
	return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
	ENTER();
	if (!node || !type) return CUDA_ERROR_INVALID_VALUE;
	*type = node->type;
	return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
	ENTER_CONTEXT();
	return flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD ? CUDA_ERROR_INVALID_VALUE : instantiate(executable, graph, flags);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *executable, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *params) {
	ENTER_CONTEXT();
	if (!params) return CUDA_ERROR_INVALID_VALUE;
	const CUresult result = instantiate(executable, graph, params->flags);
	params->hErrNode_out = nullptr;
	params->result_out = result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
	return result;
}

CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
	ENTER_CONTEXT();
	if (!executables.count(executable)) return CUDA_ERROR_INVALID_VALUE;
	return alive(stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
	ENTER_CONTEXT();
	if (!executables.count(executable)) return CUDA_ERROR_INVALID_VALUE;
	// A copy of the list: the executable may be gone when it runs. In a capture it is one node of that.
	return enqueue(stream, CU_GRAPH_NODE_TYPE_GRAPH, [operations = executable->operations] {
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
