#include "launch.h"

#include <cstdio>
#include <cstdlib>

#include "fibre.h"
#include "memory.h"

namespace softcuda {

Place place;
uint64_t block_serial;
Launch launch;
bool launching;

namespace {
Shared dynamic_array{"dynamic", 0, nullptr, 0, 0};

bool listed(const char *list, const std::string &word) {
	return list && ("," + std::string(list) + ",").find("," + word + ",") != std::string::npos;
}

void begin(int thread) {
	launch.now = thread;
	launch.thread[thread].state = Thread::running;
	launch.ready[thread / 32] &= ~(uint32_t{1} << thread % 32);
	place.thread = launch.thread[thread].place;
}

int in_order(int i) { return checks().order ? launch.threads - 1 - i : i; }

void work();

// Leaves the running thread for one of its warp that can run, and if there is none for the block's loop. So lanes that wait for each other change stacks once each, and a warp goes
// as far as it can while what it uses is in the cache.
void next() {
	const int warp = launch.now / 32;
	if (const uint32_t ready = launch.ready[warp]) {
		const int thread = warp * 32 + (checks().order ? 31 - __builtin_clz(ready) : __builtin_ctz(ready));
		begin(thread);
		return go_to(launch.thread[thread].fibre);
	}
	if (launch.taken < launch.threads && in_order(launch.taken) / 32 == warp) return go_to(take_fibre(work));
	leave();
}

// What a fibre does: threads from first to last, until one of them waits. So a kernel without barriers is a plain loop on one fibre.
void work() {
	for (;;) {
		while (launch.taken < launch.threads) {
			const int thread = in_order(launch.taken++);
			Thread &t = launch.thread[thread];
			t.fibre = running_fibre();
			begin(thread);
			launch.kernel->run(launch.params);
			launch.thread[launch.now].state = Thread::ended;
			if (launch.ready[launch.now / 32]) break;
		}
		give_fibre(running_fibre());
		next();
	}
}

void all_wait_at_one_barrier() {
	int first = -1;
	for (int i = 0; i < launch.threads; i++) {
		const Thread &t = launch.thread[i];
		if (t.state == Thread::at_warp) {
			char mask[16];
			std::snprintf(mask, sizeof mask, "%08x", t.mask);
			launch.now = i;
			return fail(Outcome::failed, std::string("waits at ") + t.file + ":" + std::to_string(t.line) + " for lanes " + mask + " of its warp, and not all of them come");
		}
		if (first < 0 && t.state == Thread::at_barrier) first = i;
	}
	const Thread &f = launch.thread[first];
	launch.now = first;
	const std::string there = "waits at the barrier " + std::string(f.file) + ":" + std::to_string(f.line) + ", ";
	for (int i = 0; i < launch.threads; i++) {
		const Thread &t = launch.thread[i];
		if (t.state == Thread::ended) return fail(Outcome::failed, there + "which " + name_thread(i) + " never reached: it has ended");
		if (t.line != f.line || std::string(t.file) != f.file) return fail(Outcome::failed, there + name_thread(i) + " at another: " + t.file + ":" + std::to_string(t.line));
	}
}

// The stacks of what was cut short: each holds one thread that has begun and not ended.
void give_up() {
	for (int i = 0; i < launch.threads; i++) {
		Thread &t = launch.thread[i];
		if (t.state != Thread::fresh && t.state != Thread::ended) give_fibre(t.fibre);
		t.state = Thread::ended;
	}
}

void run_block() {
	launch.taken = 0;
	launch.epoch = 0;
	for (int w = 0; w * 32 < launch.threads; w++) {
		launch.warp_epoch[w] = launch.ready[w] = 0;
		launch.meeting[w].came = 0;
	}
	for (int i = 0; i < launch.threads; i++) {
		launch.thread[i].state = Thread::fresh;
		launch.thread[i].fences = 0;
	}
	block_serial++;
	for (;;) {
		while (launch.taken < launch.threads && launch.outcome == Outcome::done) resume(take_fibre(work));
		bool resumed = false, waiting = false;
		for (int i = 0; i < launch.threads && launch.outcome == Outcome::done; i++) {
			const int thread = in_order(i);
			Thread &t = launch.thread[thread];
			if (t.state == Thread::ready) {
				resumed = true;
				begin(thread);
				resume(t.fibre);
			}
			waiting |= t.state == Thread::at_barrier || t.state == Thread::at_warp;
		}
		if (launch.outcome != Outcome::done) return;
		if (resumed) continue;
		if (!waiting) return;
		all_wait_at_one_barrier();
		if (launch.outcome != Outcome::done) return;
		launch.epoch++;
		for (int i = 0; i < launch.threads; i++) make_ready(i);
	}
}
}  // namespace

const Checks &checks() {
	static const Checks checks = [] {
		const char *list = std::getenv("SOFTCUDA_CHECK");
		return Checks{listed(list, "1"), listed(list, "order"), listed(list, "late")};
	}();
	return checks;
}

std::string name_thread(int thread) {
	const uint3 t = launch.thread[thread].place;
	return "thread (" + std::to_string(t.x) + "," + std::to_string(t.y) + "," + std::to_string(t.z) + ")";
}

static std::string name_block() {
	const uint3 b = place.block;
	return std::string("kernel ") + launch.kernel->name + ", block (" + std::to_string(b.x) + "," + std::to_string(b.y) + "," + std::to_string(b.z) + ")";
}

std::string here() { return name_block() + ", " + name_thread(launch.now); }

void fail(Outcome outcome, const std::string &why) {
	std::fprintf(stderr, "softcuda: %s: %s\n", here().c_str(), why.c_str());
	launch.outcome = outcome;
}

void abandon(Outcome outcome, const std::string &why) {
	fail(outcome, why);
	leave();
	__builtin_unreachable();
}

void wait(Thread::State state) {
	launch.thread[launch.now].state = state;
	next();
}

Moment moment() { return {launch.epoch, static_cast<uint16_t>(launch.now), static_cast<uint16_t>(launch.warp_epoch[launch.now / 32])}; }

void make_ready(int thread) {
	launch.thread[thread].state = Thread::ready;
	launch.ready[thread / 32] |= uint32_t{1} << thread % 32;
}

void barrier(const char *file, int line) {
	Thread &t = launch.thread[launch.now];
	t.file = file;
	t.line = line;
	wait(Thread::at_barrier);
}

void enter_shared(Shared *array) {
	if (array->launch != launch.serial) {
		array->launch = launch.serial;
		launch.shared_bytes += array->bytes;
		constexpr size_t fixed_limit = 48 << 10;  // CUDA's, whatever is allowed of dynamic memory
		const std::string takes = "its shared arrays take " + std::to_string(launch.shared_bytes) + " bytes, ";
		if (launch.shared_bytes > fixed_limit) abandon(Outcome::failed, takes + "and may take " + std::to_string(fixed_limit));
		if (launch.shared_bytes + launch.dynamic_bytes > launch.shared_limit)
			abandon(Outcome::failed, takes + "the launch gives " + std::to_string(launch.dynamic_bytes) + " more, and a block has " + std::to_string(launch.shared_limit));
	}
	if (array->base == nullptr) {
		Allocation *a = allocate(array->bytes, -1, nullptr, array->name);
		if (!a) abandon(Outcome::failed, std::string("no memory for the shared array ") + array->name);
		array->base = reinterpret_cast<void *>(a->base);
	}
	std::memset(array->base, poison, array->bytes);
	array->block = block_serial;
}

void *dynamic_shared() {
	if (dynamic_array.bytes == 0) abandon(Outcome::failed, "reads dynamic shared memory, and the launch gave it none");
	if (dynamic_array.block != block_serial) {
		std::memset(dynamic_array.base, poison, dynamic_array.bytes);
		dynamic_array.block = block_serial;
	}
	return dynamic_array.base;
}

// An array of its own size for each launch, so that its end is guarded too.
static bool make_dynamic(size_t bytes) {
	if (bytes == dynamic_array.bytes) return true;
	if (dynamic_array.bytes) release(nearest(reinterpret_cast<uintptr_t>(dynamic_array.base)));
	dynamic_array.bytes = 0;
	if (bytes == 0) return true;
	Allocation *a = allocate(bytes, -1, nullptr, dynamic_array.name, 128);
	if (!a) return false;
	dynamic_array.base = reinterpret_cast<void *>(a->base);
	dynamic_array.bytes = bytes;
	return true;
}

Outcome run_grid(const Kernel &kernel, uint3 grid, uint3 block, size_t dynamic_bytes, size_t shared_limit, void **params) {
	catch_faults();
	if (!make_dynamic(dynamic_bytes)) {
		std::fprintf(stderr, "softcuda: no memory for %zu bytes of dynamic shared memory\n", dynamic_bytes);
		return Outcome::failed;
	}
	launch.kernel = &kernel;
	launch.params = params;
	launch.serial++;
	launch.threads = static_cast<int>(block.x * block.y * block.z);
	launch.outcome = Outcome::done;
	launch.shared_bytes = 0;
	launch.dynamic_bytes = dynamic_bytes;
	launch.shared_limit = shared_limit;
	place = {{0, 0, 0}, {0, 0, 0}, block, grid};
	for (int i = 0; i < launch.threads; i++) {
		const unsigned u = static_cast<unsigned>(i);
		launch.thread[i].place = {u % block.x, u / block.x % block.y, u / block.x / block.y};
	}
	const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
	launching = true;
	for (uint64_t i = 0; i < blocks && launch.outcome == Outcome::done; i++) {
		launch.block = checks().order ? blocks - 1 - i : i;
		const uint64_t b = launch.block;
		place.block = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y), static_cast<unsigned>(b / grid.x / grid.y)};
		run_block();
	}
	launching = false;
	if (launch.outcome != Outcome::done) give_up();
	std::string what;
	if (launch.outcome == Outcome::done && overwritten(&what)) {
		std::fprintf(stderr, "softcuda: kernel %s wrote %s\n", kernel.name, what.c_str());
		launch.outcome = Outcome::bad_address;
	}
	return launch.outcome;
}

}  // namespace softcuda
