//! Matrices of weights, as tensors or as the quantised blocks in which GGUF files store them.

use crate::device::has_kernels;
use crate::format::{FormatErrorKind, GgmlType, dequantize_into, quantize_q8_0};
use crate::weights::{Weights, placed};
#[cfg(feature = "flex")]
use burn::backend::flex::FlexTensor;
use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// A matrix of weights, `[out, in]`: a tensor, or quantised blocks.
///
/// A visitor of a module sees the tensor as if it stood in the place of the matrix, and blocks as a parameter of bytes.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// A tensor of `f32` or `f16`.
    Dense(Weights<Tensor<2>>),
    /// Quantised blocks.
    Quantised(Blocks),
}

/// Quantised weights of a matrix, `[out, in]`, in the blocks in which GGUF files store them. Every row is whole blocks.
///
/// Products with blocks have kernels on `flex`. Elsewhere, and in passes with gradients, the matrix is dequantised for
/// every product; no gradient reaches it.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// The rows, one after the other, as `u8`.
    bytes: Weights<Tensor<1, Int>>,
    ty: GgmlType,
    shape: [usize; 2],
}

impl Matrix {
    /// Makes a matrix of blocks, or on a device that has no kernels for them a tensor of the `f32` that they stand for.
    pub(crate) fn of_blocks(
        ty: GgmlType,
        shape: [usize; 2],
        bytes: Vec<u8>,
        device: &Device,
    ) -> Result<Self, FormatErrorKind> {
        if has_kernels(device) {
            return Ok(Self::Quantised(Blocks::new(ty, shape, bytes, device)?));
        }
        check(ty, shape, bytes.len())?;
        Ok(Self::from(Param::from_tensor(dequantised(ty, &bytes, shape, device))))
    }

    /// The numbers of rows and columns, `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(tensor) => tensor.dims(),
            Self::Quantised(blocks) => blocks.dims(),
        }
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        match self {
            Self::Dense(tensor) => tensor.val().device(),
            Self::Quantised(blocks) => blocks.bytes().device(),
        }
    }

    /// Returns the weights as a tensor, `[out, in]`; blocks are dequantised to `f32`.
    ///
    /// # Panics
    /// If blocks cannot be read from the device.
    pub fn tensor(&self) -> Tensor<2> {
        match self {
            Self::Dense(tensor) => tensor.val(),
            Self::Quantised(blocks) => blocks.tensor(),
        }
    }

    /// Returns the rows of these numbers, `[rows.len(), in]`. Only they are dequantised, to `f32`; rows of a tensor
    /// keep its element type.
    ///
    /// # Panics
    /// If a row is out of range, on backends that check indices, or if blocks cannot be read from the device.
    pub fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::Dense(tensor) => tensor.val().select(0, rows),
            Self::Quantised(blocks) => blocks.select(rows),
        }
    }

    /// The memory that the weights take, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(tensor) => {
                let tensor = tensor.val();
                let [rows, columns] = tensor.dims();
                rows * columns * tensor.dtype().size()
            }
            Self::Quantised(blocks) => {
                let [bytes] = blocks.bytes().dims();
                bytes
            }
        }
    }

    /// Changes the parameter that holds the weights.
    fn change(
        self,
        tensor: impl FnOnce(Weights<Tensor<2>>) -> Weights<Tensor<2>>,
        bytes: impl FnOnce(Weights<Tensor<1, Int>>) -> Weights<Tensor<1, Int>>,
    ) -> Self {
        match self {
            Self::Dense(weights) => Self::Dense(tensor(weights)),
            Self::Quantised(Blocks { bytes: weights, ty, shape }) => {
                Self::Quantised(Blocks { bytes: bytes(weights), ty, shape })
            }
        }
    }
}

impl From<Param<Tensor<2>>> for Matrix {
    fn from(tensor: Param<Tensor<2>>) -> Self {
        Self::Dense(tensor.into())
    }
}

impl Blocks {
    /// The container type under which visitors enter the parameter of blocks. The name beside it is that of
    /// [`name`](Self::name).
    pub(crate) const CONTAINER: &str = "Blocks";

    /// Makes blocks from their bytes: those of a matrix `[out, in]`, row by row, as a GGUF file has them.
    ///
    /// # Errors
    /// If a row is not a whole number of blocks, or if there are more or fewer bytes than the matrix takes.
    pub fn new(ty: GgmlType, shape: [usize; 2], bytes: Vec<u8>, device: &Device) -> Result<Self, FormatErrorKind> {
        check(ty, shape, bytes.len())?;
        let n = bytes.len();
        let data = TensorData::from_bytes_vec(bytes, [n], DType::U8);
        let bytes = Tensor::<1, Int>::from_data(placed(data, device), (device, DType::U8));
        Ok(Self { bytes: Param::initialized(ParamId::new(), bytes).into(), ty, shape })
    }

    /// Quantises a matrix `[out, in]`, whose values come row by row, to blocks of `Q8_0`, as ggml does.
    ///
    /// A value that is not finite, or beyond 8 million, is not kept.
    ///
    /// # Errors
    /// If a row is not a multiple of 32 wide, or if there are more or fewer values than the matrix has.
    pub fn quantise(values: &[f32], shape: [usize; 2], device: &Device) -> Result<Self, FormatErrorKind> {
        let mut bytes = Vec::new();
        quantize_q8_0(values, &mut bytes);
        Self::new(GgmlType::Q8_0, shape, bytes, device)
    }

    /// The type of the blocks.
    pub fn ty(&self) -> GgmlType {
        self.ty
    }

    /// The numbers of rows and columns, `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        self.shape
    }

    /// Returns the bytes of all rows, one row after the other, as a tensor of `u8`. They are not copied.
    pub fn bytes(&self) -> Tensor<1, Int> {
        self.bytes.val()
    }

    /// Returns the storage of the bytes, if it is that of a `flex` tensor.
    #[cfg(feature = "flex")]
    pub(crate) fn storage(&self) -> Option<&FlexTensor> {
        self.bytes.storage()
    }

    /// Returns the weights in `f32`, `[out, in]`.
    ///
    /// # Panics
    /// If the blocks cannot be read from the device.
    pub fn tensor(&self) -> Tensor<2> {
        let bytes = self.bytes();
        let device = bytes.device();
        dequantised(self.ty, bytes.into_data().as_bytes(), self.shape, &device)
    }

    /// Returns the rows of these numbers in `f32`, `[rows.len(), in]`.
    ///
    /// # Panics
    /// If a row is out of range, on backends that check indices, or if the blocks cannot be read from the device.
    pub fn select(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        let [out, width] = self.shape;
        let ([n], bytes) = (rows.dims(), self.bytes());
        let device = bytes.device();
        let selected = bytes.reshape([out, self.ty.row_bytes(width)]).select(0, rows); // [rows, bytes of a row]
        dequantised(self.ty, selected.into_data().as_bytes(), [n, width], &device)
    }

    /// The name under which visitors enter the parameter: the type's number and the shape, since bytes alone do not say
    /// what they are.
    fn name(&self) -> String {
        let [rows, columns] = self.shape;
        format!("{} {rows} {columns}", self.ty.id())
    }

    /// Returns the blocks that a visitor sees under a [name](Self::name); `None` if it is not the name of these bytes.
    pub(crate) fn visited<const D: usize>(name: &str, param: &Param<Tensor<D, Int>>) -> Option<Self> {
        let numbers: Vec<usize> = name.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [ty, rows, columns]: [usize; 3] = numbers.try_into().ok()?;
        let (ty, shape) = (GgmlType::from_id(u32::try_from(ty).ok()?)?, [rows, columns]);
        let n: usize = param.val().dims().iter().product();
        check(ty, shape, n).ok()?;
        Some(Self { bytes: Param::initialized(param.id, param.val().reshape([n])).into(), ty, shape })
    }
}

/// Checks that a matrix of this shape takes so many bytes, and that its rows are whole blocks.
fn check(ty: GgmlType, shape: [usize; 2], found: usize) -> Result<(), FormatErrorKind> {
    let [rows, width] = shape;
    let whole = width.is_multiple_of(ty.block_size());
    if whole && ty.row_bytes(width).checked_mul(rows) == Some(found) {
        Ok(())
    } else {
        Err(FormatErrorKind::BlockLength { ty, elements: rows.saturating_mul(width), found })
    }
}

/// Dequantises the bytes of a matrix of this shape.
fn dequantised(ty: GgmlType, bytes: &[u8], shape: [usize; 2], device: &Device) -> Tensor<2> {
    let [rows, columns] = shape;
    let mut values = vec![0.0; rows * columns];
    let fits = dequantize_into(ty, bytes, &mut values);
    debug_assert!(fits.is_ok(), "{fits:?}, which was checked when the blocks were made");
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

// Not derived: the derived visit would put the variant's name into the names of all weights, and would leave out the
// type and the shape of blocks.
impl Module for Matrix {
    fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Self::Dense(tensor) => Module::collect_devices(tensor, devices),
            Self::Quantised(blocks) => Module::collect_devices(&blocks.bytes, devices),
        }
    }

    fn fork(self, device: &Device) -> Self {
        self.change(|tensor| Module::fork(tensor, device), |bytes| Module::fork(bytes, device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.change(|tensor| Module::to_device(tensor, device), |bytes| Module::to_device(bytes, device))
    }

    fn num_params(&self) -> usize {
        let [rows, columns] = self.dims();
        rows * columns
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        match self {
            Self::Dense(tensor) => Module::visit(tensor, visitor),
            Self::Quantised(blocks) => {
                let name = blocks.name();
                visitor.enter_module(&name, Blocks::CONTAINER);
                Module::visit(&blocks.bytes, visitor);
                visitor.exit_module(&name, Blocks::CONTAINER);
            }
        }
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        match self {
            Self::Dense(tensor) => Self::Dense(Module::map(tensor, mapper)),
            Self::Quantised(mut blocks) => {
                let name = blocks.name();
                mapper.enter_module(&name, Blocks::CONTAINER);
                blocks.bytes = Module::map(blocks.bytes, mapper);
                mapper.exit_module(&name, Blocks::CONTAINER);
                Self::Quantised(blocks)
            }
        }
    }

    fn train(self) -> Self {
        self.change(Module::train, Module::train)
    }

    fn valid(&self) -> Self {
        self.clone().change(|tensor| Module::valid(&tensor), |bytes| Module::valid(&bytes))
    }

    fn materialize(self) -> Self {
        self.change(Module::materialize, Module::materialize)
    }
}

impl ModuleDisplayDefault for Matrix {
    fn content(&self, content: Content) -> Option<Content> {
        let ([rows, columns], kind) = match self {
            Self::Dense(tensor) => (self.dims(), format!("{:?}", tensor.val().dtype())),
            Self::Quantised(blocks) => (self.dims(), blocks.ty.to_string()),
        };
        content.add_formatted(&format!("Matrix {{shape: [{rows}, {columns}], kind: {kind}}}")).optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Matrix {}

#[cfg(all(test, feature = "flex"))]
mod tests;
