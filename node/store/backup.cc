// SPDX-License-Identifier: MIT
#include "node/store/backup.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "node/store/data_dir.h"
#include "node/store/schema.h"

namespace chatchain {

namespace {

namespace fs = std::filesystem;

constexpr int kPagesAtOnce = 1024;
constexpr size_t kCopyBytes = 1 << 20;

std::string Failed(const std::string& what, const std::string& path) {
  return what + " " + path + ": " + std::strerror(errno);
}

bool SyncDirectoryOf(const std::string& path) {
  fs::path directory = fs::path(path).parent_path();
  if (directory.empty()) directory = ".";
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = fsync(fd) == 0;
  close(fd);
  return synced;
}

// A file that is being made: gone with this object, unless it was given its name.
class PartialFile {
 public:
  // Takes over what an earlier attempt left, unless that is still under way.
  static Result<std::unique_ptr<PartialFile>, std::string> Create(const std::string& final_path) {
    std::unique_ptr<PartialFile> file(new PartialFile(final_path));
    // What a node knows of people is for its owner alone.
    file->fd_ = open(file->path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file->fd_ < 0) return Err(Failed("cannot create", file->path_));
    if (flock(file->fd_, LOCK_EX | LOCK_NB) != 0 || !file->HasItsName()) {
      close(std::exchange(file->fd_, -1));
      return Err("another process is writing " + file->path_);
    }
    file->RemoveSideFiles();
    if (ftruncate(file->fd_, 0) != 0) return Err(Failed("cannot empty", file->path_));
    return file;
  }
  ~PartialFile() {
    if (fd_ < 0) return;
    if (!named_) {
      unlink(path_.c_str());
      RemoveSideFiles();
    }
    close(fd_);
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }

  // To the disk, and out of memory: what is read afterwards is what the disk has.
  Result<void, std::string> Sync() {
    if (fsync(fd_) != 0) return Err(Failed("cannot write", path_));
    posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    return {};
  }

  // Never replaces a file.
  Result<void, std::string> GiveName() {
    if (renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, final_path_.c_str(), RENAME_NOREPLACE) == 0) {
      named_ = true;
    } else if (errno != EEXIST && link(path_.c_str(), final_path_.c_str()) == 0) {
      unlink(path_.c_str());  // a file system without the above
      named_ = true;
    } else {
      return Err(Failed("cannot create", final_path_));
    }
    if (!SyncDirectoryOf(final_path_)) {
      const std::string failed = Failed("cannot write the directory of", final_path_);
      unlink(final_path_.c_str());
      return Err(failed);
    }
    return {};
  }

 private:
  explicit PartialFile(const std::string& final_path)
      : final_path_(final_path), path_(final_path + ".partial") {}
  // False where another attempt gave our file its final name before we had the lock.
  bool HasItsName() const {
    struct stat here {};
    struct stat named {};
    return fstat(fd_, &here) == 0 && stat(path_.c_str(), &named) == 0 &&
           here.st_ino == named.st_ino && here.st_dev == named.st_dev;
  }
  void RemoveSideFiles() {
    for (const char* suffix : {"-wal", "-shm", "-journal"}) unlink((path_ + suffix).c_str());
  }

  const std::string final_path_;
  const std::string path_;
  int fd_ = -1;
  bool named_ = false;
};

// Something of that name is there; a link to nowhere counts.
bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

SqliteError ErrorOf(const Database& db) {
  return {sqlite3_extended_errcode(db.handle()), sqlite3_errmsg(db.handle())};
}

// One snapshot of `from` becomes all of `to`.
void CopyPages(Database& from, Database& to, const AuditOptions& options) {
  // Without a snapshot of our own each commit of the node would make the copy begin anew.
  from.Execute("BEGIN");
  from.Execute("SELECT 1 FROM meta");
  struct Finish {
    void operator()(sqlite3_backup* backup) const { sqlite3_backup_finish(backup); }
  };
  const std::unique_ptr<sqlite3_backup, Finish> backup(
      sqlite3_backup_init(to.handle(), "main", from.handle(), "main"));
  if (backup == nullptr) throw ErrorOf(to);
  while (true) {
    if (options.stop && options.stop()) throw SqliteError(SQLITE_INTERRUPT, "it was stopped");
    const int code = sqlite3_backup_step(backup.get(), kPagesAtOnce);
    if (code == SQLITE_DONE) break;
    if (code != SQLITE_OK) throw SqliteError(code, sqlite3_errstr(code));
    if (options.progress) {
      const double all = sqlite3_backup_pagecount(backup.get());
      options.progress("copying", 1.0 - sqlite3_backup_remaining(backup.get()) / all);
    }
  }
}

// The check of a file that nobody writes; an error where anything is wrong with it.
Result<AuditReport, std::string> CheckFile(const std::string& path, const AuditOptions& options) {
  try {
    const auto db = OpenAlone(path);
    if (auto problem = FormatProblem(*db, path)) return Err(std::move(*problem));
    auto report = Audit(*db, options);
    if (!report) return report;
    if (report->damaged > 0) {
      return Err(path + " is damaged in " + std::to_string(report->damaged) +
                 " places, the first: " + report->named.front());
    }
    return report;
  } catch (const SqliteError& error) {
    return Err("cannot read " + path + ": " + error.what());
  }
}

// Bytes of `from` into `to`, from both beginnings.
Result<void, std::string> CopyBytes(const std::string& from, const PartialFile& to,
                                    const AuditOptions& options) {
  struct File {
    ~File() {
      if (fd >= 0) close(fd);
    }
    int fd;
  };
  const File source{open(from.c_str(), O_RDONLY | O_CLOEXEC)};
  if (source.fd < 0) return Err(Failed("cannot read", from));
  std::error_code ignored;
  const auto all = static_cast<double>(fs::file_size(from, ignored));
  double done = 0;
  std::string buffer(kCopyBytes, '\0');
  while (true) {
    if (options.stop && options.stop()) return Err(std::string("it was stopped"));
    const ssize_t got = read(source.fd, buffer.data(), buffer.size());
    if (got < 0) return Err(Failed("cannot read", from));
    if (got == 0) return {};
    for (ssize_t written = 0; written < got;) {
      const ssize_t n = write(to.fd(), buffer.data() + written, static_cast<size_t>(got - written));
      if (n < 0) return Err(Failed("cannot write", to.path()));
      written += n;
    }
    done += static_cast<double>(got);
    if (options.progress) options.progress("copying", done / all);
  }
}

}  // namespace

Result<AuditReport, std::string> BackUp(const std::string& directory, const std::string& file,
                                        const AuditOptions& options) {
  const std::string source = DatabasePath(directory);
  if (!Exists(source)) return Err("there is no database " + source);
  if (Exists(file)) return Err(file + " exists already; a backup never overwrites a file");
  auto partial = PartialFile::Create(file);
  if (!partial) return Err(std::move(partial.error()));
  const std::string& path = (*partial)->path();
  try {
    const auto from = OpenBesideWriters(source);
    if (auto problem = FormatProblem(*from, source)) return Err(std::move(*problem));
    {
      Database to(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX);
      // Until it has its name it may be lost; it is synced once, as a whole.
      to.Execute("PRAGMA journal_mode=OFF");
      to.Execute("PRAGMA synchronous=OFF");
      CopyPages(*from, to, options);
    }
    // The copy says of itself that it has a write-ahead log. Without one it can be read where
    // nothing may be written.
    Database to(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX);
    to.Execute("PRAGMA locking_mode=EXCLUSIVE");
    to.Execute("PRAGMA synchronous=OFF");
    to.Execute("PRAGMA journal_mode=DELETE");
  } catch (const SqliteError& error) {
    return Err("copying " + source + " to " + path + " failed: " + error.what());
  }
  if (auto synced = (*partial)->Sync(); !synced) return Err(std::move(synced.error()));
  auto report = CheckFile(path, options);
  if (!report) return Err("no backup was made: " + report.error());
  if (auto named = (*partial)->GiveName(); !named) return Err(std::move(named.error()));
  return report;
}

Result<AuditReport, std::string> Restore(const std::string& file, const std::string& directory,
                                         const AuditOptions& options) {
  const std::string target = DatabasePath(directory);
  const auto taken = [&]() -> std::optional<std::string> {
    // The log of a lost database would be played into the restored one.
    for (const std::string& path : {target, target + "-wal"}) {
      if (Exists(path)) {
        return path +
               " exists already; move it away, or choose another --data-dir: nothing is ever "
               "overwritten";
      }
    }
    return std::nullopt;
  };
  if (auto problem = taken()) return Err(std::move(*problem));
  std::error_code failure;
  if (!fs::is_regular_file(file, failure)) return Err("there is no file " + file);
  if (fs::file_size(file + "-wal", failure) > 0 && !failure) {
    return Err(file + " is no backup: a write-ahead log lies beside it");
  }
  auto report = CheckFile(file, options);
  if (!report) return Err("nothing was restored: " + report.error());

  const auto lock = DirectoryLock::Take(directory);
  if (!lock) return Err(lock.error());
  if (auto problem = taken()) return Err(std::move(*problem));
  auto partial = PartialFile::Create(target);
  if (!partial) return Err(std::move(partial.error()));
  if (auto copied = CopyBytes(file, **partial, options); !copied) {
    return Err(std::move(copied.error()));
  }
  if (auto synced = (*partial)->Sync(); !synced) return Err(std::move(synced.error()));
  if (auto named = (*partial)->GiveName(); !named) return Err(std::move(named.error()));
  return report;
}

}  // namespace chatchain
