#include "qemu_fixture.h"

#include "migration/vm/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

namespace homeport::migration {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kCountAddress = 0x7000;
constexpr std::size_t kFirmwareSize = 65'536;

// At the reset vector, in real mode:   xor ax,ax; mov ds,ax
//                                next: inc ecx; mov [0x7000],ecx; jmp next
constexpr unsigned char kFirmware[] = {0x31, 0xc0, 0x8e, 0xd8, 0x66, 0x41, 0x66,
                                       0x89, 0x0e, 0x00, 0x70, 0xeb, 0xf7};

constexpr const char* kRam =
    R"("-object", "memory-backend-file,id=ram0,size={memory_mib}M,mem-path={memory_path},share=on",
       "-machine", "pc-i440fx-7.2,memory-backend=ram0",)";
constexpr const char* kCommon =
    R"("-m", "{memory_mib}", "-smp", "{vcpus}", "-accel", "tcg", "-nodefaults", "-no-user-config",
       "-vga", "none", "-display", "none", "-bios", ")";

fs::path cgroup2_mount() {
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs kind {};
    if (::statfs(path, &kind) == 0 && kind.f_type == CGROUP2_SUPER_MAGIC) return path;
  }
  return {};
}

}  // namespace

MappedRam::MappedRam(Vm& vm, const RamBlock& block) {
  auto file = vm.open_ram(block);
  if (!file) throw std::runtime_error(file.error().message);
  void* address = ::mmap(nullptr, block.size, PROT_READ | PROT_WRITE, MAP_SHARED, file->get(),
                         static_cast<off_t>(block.offset));
  if (address == MAP_FAILED) throw std::runtime_error("mmap of guest RAM");
  bytes_ = {static_cast<std::byte*>(address), block.size};
}

MappedRam::~MappedRam() {
  ::munmap(bytes_.data(), bytes_.size());
}

std::uint32_t MappedRam::count() const {
  auto* value = reinterpret_cast<std::uint32_t*>(bytes_.data() + kCountAddress);
  return std::atomic_ref(*value).load();
}

QemuFixture::QemuFixture() : driver_(QemuDriverOptions{}) {
  std::string pattern = (fs::temp_directory_path() / "homeport-vm-XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
  directory_ = pattern;
  fs::permissions(directory_,
                  fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  std::string unique = directory_.filename();
  options_.profile_dir = directory_ / "launch.d";
  options_.runtime_dir = directory_ / "run";
  options_.memory_dir = fs::path("/dev/shm") / unique;
  options_.cgroup_dir = cgroup2_mount() / unique;
  options_.start_timeout = std::chrono::seconds(60);
  driver_ = QemuDriver(options_);
  fs::create_directory(options_.profile_dir);

  std::string firmware(kFirmwareSize, '\xf4');
  firmware.replace(kFirmwareSize - 16, sizeof(kFirmware),
                   std::string(reinterpret_cast<const char*>(kFirmware), sizeof(kFirmware)));
  fs::path bios = directory_ / "counter.bin";
  std::ofstream(bios, std::ios::binary) << firmware;
  std::string machine = kCommon + bios.string() + "\"";
  write_profile("counter", kRam + machine);
  write_profile("private", machine);
  write_profile(
      "not-shared",
      R"("-object", "memory-backend-file,id=ram0,size={memory_mib}M,mem-path={memory_path},share=off",
         "-machine", "pc-i440fx-7.2,memory-backend=ram0",)" +
          machine);
}

QemuFixture::~QemuFixture() {
  for (const overlay::UniqueFd& process : processes_) {
    send_kill(process.get());
    pollfd gone{process.get(), POLLIN, 0};
    ::poll(&gone, 1, -1);
    reap(process.get());
  }
  for (const std::string& name : driver_.known()) {
    auto removed = driver_.remove(name);
    EXPECT_TRUE(removed) << removed.error().message;
  }
  EXPECT_TRUE(!fs::exists(options_.memory_dir) || fs::is_empty(options_.memory_dir));
  if (fs::exists(options_.cgroup_dir)) {
    EXPECT_EQ(::rmdir(options_.cgroup_dir.c_str()), 0) << "a VM's cgroup was left behind";
  }
  fs::remove_all(options_.memory_dir);
  fs::remove_all(directory_);
}

void QemuFixture::write_profile(const std::string& name, const std::string& args,
                                const std::string& program, const std::string& more) {
  std::ofstream(options_.profile_dir / (name + ".toml"))
      << "program = \"" << program << "\"\nargs = [" << args << "]\n"
      << more;
}

VmSpec QemuFixture::spec(const std::string& name, const std::string& profile) const {
  return {name, 1, profile, kGuestMib, 1, {}};
}

Vm QemuFixture::launch(QemuDriver& driver, const VmSpec& spec, LaunchMode mode) {
  auto vm = run(io_, driver.launch(spec, mode));
  if (!vm) throw std::runtime_error(vm.error().message);
  processes_.emplace_back(::fcntl(vm->pidfd(), F_DUPFD_CLOEXEC, 0));
  return std::move(*vm);
}

RamBlock QemuFixture::ram_block(Vm& vm) {
  auto blocks = run(io_, vm.ram_blocks());
  if (!blocks) throw std::runtime_error(blocks.error().message);
  if (blocks->size() != 1) throw std::runtime_error("not one RAM block");
  return blocks->front();
}

void QemuFixture::wait_counting(Vm& vm, const MappedRam& ram, std::uint32_t from) {
  while (ram.count() <= from) {
    auto status = run(io_, vm.status());
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_TRUE(status->running) << status->state;
  }
}

}  // namespace homeport::migration
