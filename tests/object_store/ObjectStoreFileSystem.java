import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.util.Progressable;

/**
 * A file system with the rules of an object store: a flat list of keys, each a file of the local folder
 * fs.objects.root. An object appears, whole, when its stream is closed; a folder exists as long as a key begins with
 * its name; a rename copies object after object, slowly enough to be seen. There is no FileContext. With
 * fs.objects.conditional an object can be put on the condition that there is none, as in S3A since Hadoop 3.4.2;
 * without it a create that may not overwrite looks and then puts, as before.
 */
public class ObjectStoreFileSystem extends FileSystem {
  private static final String IF_ABSENT = "fs.option.create.conditional.overwrite";
  private URI uri;
  private java.nio.file.Path root;
  private boolean conditional;

  @Override
  public String getScheme() {
    return "objects";
  }

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    setConf(conf);
    uri = URI.create("objects://" + name.getAuthority());
    root = Paths.get(conf.get("fs.objects.root"));
    conditional = conf.getBoolean("fs.objects.conditional", true);
    Files.createDirectories(root);
  }

  @Override
  public URI getUri() {
    return uri;
  }

  @Override
  public Path getWorkingDirectory() {
    return new Path(uri.toString() + "/");
  }

  @Override
  public void setWorkingDirectory(Path path) {}

  private String key(Path path) {
    return makeQualified(path).toUri().getPath().replaceAll("^/+|/+$", "");
  }

  private java.nio.file.Path file(String key) {
    return root.resolve(URLEncoder.encode(key, StandardCharsets.UTF_8));
  }

  private TreeMap<String, Long> keysBelow(String prefix) throws IOException {
    TreeMap<String, Long> keys = new TreeMap<>();
    try (Stream<java.nio.file.Path> files = Files.list(root)) {
      for (java.nio.file.Path file : (Iterable<java.nio.file.Path>) files::iterator) {
        String name = file.getFileName().toString();
        String key = URLDecoder.decode(name, StandardCharsets.UTF_8);
        if (name.startsWith(".") && name.endsWith(".put") || !key.startsWith(prefix)) continue;
        try {
          keys.put(key, Files.size(file));
        } catch (NoSuchFileException gone) {
          // deleted since
        }
      }
    }
    return keys;
  }

  private void put(String key, byte[] content, boolean ifAbsent) throws IOException {
    java.nio.file.Path part = root.resolve("." + UUID.randomUUID() + ".put");
    Files.write(part, content);
    try {
      if (ifAbsent) {
        Files.createLink(file(key), part);
      } else {
        Files.move(part, file(key), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      }
    } catch (FileAlreadyExistsException exists) {
      throw new org.apache.hadoop.fs.FileAlreadyExistsException("412 Precondition Failed: " + key);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  private FSDataOutputStream stream(Path path, boolean ifAbsent) throws IOException {
    String key = key(path);
    ByteArrayOutputStream content =
        new ByteArrayOutputStream() {
          private boolean closed;

          @Override
          public void close() throws IOException {
            if (!closed) {
              closed = true;
              put(key, toByteArray(), ifAbsent);
            }
          }
        };
    return new FSDataOutputStream(content, statistics);
  }

  @Override
  public FSDataOutputStream create(
      Path path, FsPermission permission, boolean overwrite, int bufferSize, short replication, long blockSize,
      Progressable progress)
      throws IOException {
    if (!overwrite && exists(path)) {
      throw new org.apache.hadoop.fs.FileAlreadyExistsException(path + " exists");
    }
    return stream(path, false);
  }

  @Override
  public boolean hasPathCapability(Path path, String capability) throws IOException {
    return capability.equals(IF_ABSENT) ? conditional : super.hasPathCapability(path, capability);
  }

  private static class Builder extends FSDataOutputStreamBuilder<FSDataOutputStream, Builder> {
    private final ObjectStoreFileSystem store;

    Builder(ObjectStoreFileSystem store, Path path) {
      super(store, path);
      this.store = store;
    }

    @Override
    public Builder getThisBuilder() {
      return this;
    }

    @Override
    public FSDataOutputStream build() throws IOException {
      boolean ifAbsent = getOptions().getBoolean(IF_ABSENT, false);
      return ifAbsent ? store.stream(getPath(), true) : store.create(getPath(), true);
    }
  }

  @Override
  public FSDataOutputStreamBuilder<?, ?> createFile(Path path) {
    return new Builder(this, path);
  }

  @Override
  public FSDataOutputStream append(Path path, int bufferSize, Progressable progress) {
    throw new UnsupportedOperationException("objects are not appended to");
  }

  @Override
  public FSDataInputStream open(Path path, int bufferSize) throws IOException {
    java.nio.file.Path file = file(key(path));
    if (!Files.exists(file)) {
      throw new FileNotFoundException("no object " + path);
    }
    RawLocalFileSystem local = new RawLocalFileSystem();
    local.initialize(URI.create("file:///"), getConf());
    return local.open(new Path(file.toUri()), bufferSize);
  }

  @Override
  public boolean rename(Path source, Path target) throws IOException {
    String from = key(source);
    String to = key(target);
    TreeMap<String, Long> keys = keysBelow(from + "/");
    if (Files.exists(file(from))) keys.put(from, 0L);
    if (keys.isEmpty()) return false;
    for (String key : keys.keySet()) {
      put(to + key.substring(from.length()), Files.readAllBytes(file(key)), false);
    }
    for (String key : keys.keySet()) {
      Files.deleteIfExists(file(key));
    }
    return true;
  }

  @Override
  public boolean delete(Path path, boolean recursive) throws IOException {
    String key = key(path);
    boolean found = Files.deleteIfExists(file(key));
    for (String below : keysBelow(key + "/").keySet()) {
      found |= Files.deleteIfExists(file(below));
    }
    return found;
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    String key = key(path);
    if (Files.exists(file(key))) return new FileStatus[] {getFileStatus(path)};
    String prefix = key.isEmpty() ? "" : key + "/";
    TreeMap<String, FileStatus> found = new TreeMap<>();
    for (String below : keysBelow(prefix).keySet()) {
      String name = below.substring(prefix.length()).split("/")[0];
      if (!found.containsKey(name)) found.put(name, getFileStatus(new Path(path, name)));
    }
    if (found.isEmpty()) throw new FileNotFoundException("no key begins with " + path);
    List<FileStatus> listed = new ArrayList<>(found.values());
    return listed.toArray(new FileStatus[0]);
  }

  @Override
  public boolean mkdirs(Path path, FsPermission permission) {
    return true;
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    String key = key(path);
    Path qualified = makeQualified(path);
    java.nio.file.Path file = file(key);
    if (!key.isEmpty() && Files.exists(file)) {
      long modified = Files.getLastModifiedTime(file).toMillis();
      return new FileStatus(Files.size(file), false, 1, 1 << 26, modified, qualified);
    }
    if (key.isEmpty() || !keysBelow(key + "/").isEmpty()) {
      return new FileStatus(0, true, 1, 0, 0, qualified);
    }
    throw new FileNotFoundException("no object " + path);
  }
}
